#!lua flags=allow-oom
-- Send a tenant's deliveries that failed since a time again: one chunk.
-- Returns { how many, up to when (ms) }; fewer than `args.limit` are the last
local args, clock, keys, outbox, util = ... -- requires
local done = redis.call('HMGET', keys.redelivered(args.token), 'count', 'until')
if done[1] then return { tonumber(done[1]), done[2] } end
local now = clock.now()
local upto = args.until_ms ~= '' and args.until_ms or util.int(now)
local ids =
  redis.call('ZRANGE', keys.failed_deliveries(args.tenant), args.since_ms, upto, 'BYSCORE', 'LIMIT', 0, args.limit)
for _, id in ipairs(ids) do
  outbox.redeliver(outbox.load(id), now)
end
redis.call('HSET', keys.redelivered(args.token), 'count', #ids, 'until', upto)
redis.call('PEXPIRE', keys.redelivered(args.token), 60000)
return { #ids, upto }
