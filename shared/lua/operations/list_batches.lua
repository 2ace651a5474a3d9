#!lua flags=no-writes
-- List the batches of a tenant, newest first.
-- Returns { now, { id, record... }, ... }
local args, clock, keys, util = ... -- requires
local reply = { util.int(clock.now()) }
for _, id in
  ipairs(redis.call('ZRANGE', keys.batches(args.tenant), args.upper, '-', 'BYLEX', 'REV', 'LIMIT', 0, args.limit))
do
  local flat = { id }
  util.append(flat, redis.call('HGETALL', keys.batch(id)))
  reply[#reply + 1] = flat
end
return reply
