#!lua flags=no-writes
-- Read the secret that signs a tenant's webhooks, or an endpoint's own secret.
-- Returns the secret, or false if there is none
local args, keys = ... -- requires
if args.endpoint_id == '' then return redis.call('HGET', keys.tenant(args.tenant), 'webhook_secret') end
if redis.call('HGET', keys.endpoint(args.endpoint_id), 'tenant') ~= args.tenant then return false end
return redis.call('HGET', keys.endpoint(args.endpoint_id), 'webhook_secret')
