#!lua flags=no-writes
-- Read the secrets that sign a tenant's webhooks.
-- Returns the secret, or false if there is no such tenant
local args, keys = ... -- requires
return redis.call('HGET', keys.tenant(args.tenant), 'webhook_secret')
