#!lua
-- Takes down an endpoint before anything is owed to it, or finds it.
-- KEYS  1 the tenant's endpoints
-- ARGV  1 tenant  2 url  3 host  4 most without a delivery
-- Gives its id | 'full'
local now, id = dr.now(), dr.endpoint_id(ARGV[1], ARGV[2])
if redis.call('EXISTS', dr.endpoint_key(id)) == 0 then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 'full' end
  dr.endpoint(ARGV[1], ARGV[2], ARGV[3], now)
  -- one that is neither used nor given a secret goes again
  redis.call('ZADD', '{dr}:endpoint_expiries', now + C.endpoint_ms, id)
end
return id
