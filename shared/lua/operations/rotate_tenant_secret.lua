#!lua flags=allow-oom
-- Set a tenant's webhook secret for an operator; the old one keeps signing for a while.
-- Returns 'ok' | 'missing'
local args, audit, clock, keys, webhook_secrets = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
if redis.call('HEXISTS', keys.tenant(args.tenant), 'webhook_secret') == 0 then return 'missing' end
webhook_secrets.rotate_tenant(keys.tenant(args.tenant), args.secret, clock.now())
return audit.record(args, 'tenant.rotate_secret', args.tenant, '{}', { 'ok' })[1]
