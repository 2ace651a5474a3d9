#!lua
-- Claim the erasure that has waited longest; another worker may continue it after `args.lease_ms`.
-- Returns {} | { id, record... }
local args, clock, keys, util = ... -- requires
local now = clock.now()
local id = redis.call('ZRANGE', keys.erasures, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
if not id then return {} end
redis.call('ZADD', keys.erasures, now + tonumber(args.lease_ms), id)
return util.append({ id }, redis.call('HGETALL', keys.erasure(id)))
