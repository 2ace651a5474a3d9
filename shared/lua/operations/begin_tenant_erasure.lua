#!lua
-- Begin to delete a tenant: its API keys are deleted now, everything else by a worker, once no API process has a key in
-- its cache. Until that is done, nothing is written for the tenant. If it is being deleted already, find its erasure.
-- Returns the id of the erasure | 'missing'
local args, api_keys, audit, erasures, keys, tenants = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local known = tenants.erasure_of(args.tenant)
if known then return known end
if tenants.fault(args.tenant) then return 'missing' end
api_keys.delete_all(args.tenant)
redis.call('HSET', keys.tenant(args.tenant), 'deleting', args.id)
erasures.create({ id = args.id, tenant = args.tenant, filter = '{}', found = 0, is_tenant = 1 }, C.key_cache_ms)
local detail = '{"erasure":"' .. args.id .. '"}'
return audit.record(args, 'tenant.delete', args.tenant, detail, { args.id })[1]
