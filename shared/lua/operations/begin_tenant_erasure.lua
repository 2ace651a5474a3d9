#!lua
-- Begin to delete a tenant: its API keys are deleted now, everything else by a worker, once no API process has a key in
-- its cache.
-- Returns 'ok' | 'missing'
local args, audit, erasures, keys = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
if redis.call('HEXISTS', keys.tenant(args.tenant), 'webhook_secret') == 0 then return 'missing' end
for _, id in ipairs(redis.call('ZRANGE', keys.api_keys(args.tenant), 0, -1)) do
  redis.call('DEL', keys.api_key(id))
end
redis.call('DEL', keys.api_keys(args.tenant))
erasures.create({ id = args.id, tenant = args.tenant, filter = '{}', found = 0, is_tenant = 1 }, C.key_cache_ms)
local detail = '{"erasure":"' .. args.id .. '"}'
return audit.record(args, 'tenant.delete', args.tenant, detail, { 'ok' })[1]
