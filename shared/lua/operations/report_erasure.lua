#!lua flags=allow-oom
-- Record how many jobs an erasure has deleted so far and renew its lease, or record its end.
-- Returns 'ok' | 'done' (it had ended before)
local args, clock, erasures, keys, tenants = ... -- requires
local key, now = keys.erasure(args.id), clock.now()
local known = redis.call('HMGET', key, 'finished', 'is_tenant', 'tenant')
if known[1] then return 'done' end
redis.call('HSET', key, 'deleted', args.deleted)
if args.is_done == '' then
  redis.call('ZADD', keys.erasures, 'XX', now + tonumber(args.lease_ms), args.id)
  return 'ok'
end
erasures.finish(args.id)
if known[2] and tenants.erasure_of(known[3]) == args.id then tenants.record_deleted(known[3]) end
return 'ok'
