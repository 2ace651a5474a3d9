#!lua
-- Record a tenant's request to delete many jobs.
-- Returns 'ok' | 'gone' (the tenant is deleted) | 'full' (it has `args.most` unfinished erasures)
local args, erasures, keys, limits = ... -- requires
local unfinished = keys.tenant_erasures(args.tenant)
if limits.is_gone(args.tenant, args.api_key) then return 'gone' end
if redis.call('EXISTS', keys.erasure(args.id)) == 1 then return 'ok' end
if redis.call('SCARD', unfinished) >= tonumber(args.most) then return 'full' end
redis.call('SADD', unfinished, args.id)
erasures.create({ id = args.id, tenant = args.tenant, filter = args.filter, found = args.found }, 0)
return 'ok'
