#!lua flags=allow-oom
-- Sends again what failed for a tenant from a time on: a piece of it.
-- KEYS  1 the tenant's failed deliveries  2 what this request has done, for when it is sent again
-- ARGV  1 from (ms)  2 to (ms, '' now)  3 most
-- Gives { how many, up to when (ms) }; fewer than `most` are the last
local done = redis.call('HMGET', KEYS[2], 'count', 'upto')
if done[1] then return { tonumber(done[1]), done[2] } end
local now = dr.now()
local upto = ARGV[2] ~= '' and ARGV[2] or dr.int(now)
local ids = redis.call('ZRANGE', KEYS[1], ARGV[1], upto, 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do
  dr.redeliver(dr.delivery(id), now)
end
redis.call('HSET', KEYS[2], 'count', #ids, 'upto', upto)
redis.call('PEXPIRE', KEYS[2], 60000)
return { #ids, upto }
