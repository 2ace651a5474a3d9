#!lua flags=allow-oom
-- Set a tenant's webhook secret for an operator; the old one keeps signing for a while.
-- Returns 'ok' | 'missing' | 'deleting'
local args, audit, clock, keys, tenants, webhook_secrets = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local fault = tenants.fault(args.tenant)
if fault then return fault end
webhook_secrets.rotate_tenant(keys.tenant(args.tenant), args.secret, clock.now())
return audit.record(args, 'tenant.rotate_secret', args.tenant, '{}', { 'ok' })[1]
