#!lua flags=no-writes
-- Read a tenant's event feed from a position on.
-- Returns { now, { id, { field, value... } }, ... } | { now, 'expired' } | { now, 'at', id }
local args, clock, keys, util = ... -- requires
local now = clock.now()
if args.after == '$' then
  local newest = redis.call('XREVRANGE', keys.feed(args.tenant), '+', '-', 'COUNT', 1)[1]
  return { util.int(now), 'at', newest and newest[1] or '0-0' }
end
local oldest = now - C.feed_ms
local from = args.after ~= '' and '(' .. args.after or util.int(oldest)
if args.after ~= '' and tonumber(string.match(args.after, '^%d+')) < oldest then return { util.int(now), 'expired' } end
local reply = { util.int(now) }
for _, entry in ipairs(redis.call('XRANGE', keys.feed(args.tenant), from, '+', 'COUNT', args.limit)) do
  reply[#reply + 1] = entry
end
return reply
