#!lua flags=no-writes
-- Reads a tenant's feed of changes from a place on.
-- KEYS  1 the feed
-- ARGV  1 after this id ('' from the oldest that is kept, '$' from what is newest now)  2 most
-- Gives { now, { id, { field, value... } }, ... } | { now, 'expired' } | { now, 'at', id }
local now = dr.now()
if ARGV[1] == '$' then
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  return { dr.int(now), 'at', newest and newest[1] or '0-0' }
end
local oldest = now - C.feed_ms
local from = ARGV[1] ~= '' and '(' .. ARGV[1] or dr.int(oldest)
if ARGV[1] ~= '' and tonumber(string.match(ARGV[1], '^%d+')) < oldest then
  return { dr.int(now), 'expired' }
end
local reply = { dr.int(now) }
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[2])) do
  reply[#reply + 1] = entry
end
return reply
