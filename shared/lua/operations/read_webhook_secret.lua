#!lua flags=no-writes
-- Reads what signs a tenant's webhooks.
-- Returns the secret, or false where there is no such tenant
local args, keys = ... -- requires
return redis.call('HGET', keys.tenant(args.tenant), 'webhook_secret')
