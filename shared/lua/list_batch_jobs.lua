#!lua flags=no-writes
-- Reads jobs of a batch in the order in which they were asked for.
-- KEYS  1 the index of the batch
-- ARGV  1 lower bound of ids ('-' or '(id')  2 most jobs
-- Gives { { id, record... }, ... }
local reply = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])) do
  local flat = { id }
  for name, value in pairs(dr.record(id) or {}) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  reply[#reply + 1] = flat
end
return reply
