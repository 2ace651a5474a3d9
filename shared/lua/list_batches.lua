#!lua flags=no-writes
-- Lists the batches of a tenant, newest first.
-- KEYS  1 the tenant's batches
-- ARGV  1 upper bound of ids ('+' or '(id')  2 most batches
-- Gives { now, { id, record... }, ... }
local reply = { dr.int(dr.now()) }
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], '-', 'BYLEX', 'REV', 'LIMIT', 0, ARGV[2])) do
  local flat = { id }
  for _, value in ipairs(redis.call('HGETALL', dr.batch_key(id))) do flat[#flat + 1] = value end
  reply[#reply + 1] = flat
end
return reply
