#!lua flags=allow-oom
-- Send a tenant's deliveries that failed since a time again: one chunk. `skipped` are the first, which were looked at
-- before and are not sent.
-- Returns { how many were looked at (fewer than `args.limit` are the last), how many are sent again, up to when (ms) }
local args, clock, keys, outbox, util = ... -- requires
local done = redis.call('HMGET', keys.redelivered(args.token), 'looked', 'count', 'until')
if done[1] then return { tonumber(done[1]), tonumber(done[2]), done[3] } end
local now, sent = clock.now(), 0
local upto = args.until_ms ~= '' and args.until_ms or util.int(now)
local ids = redis.call(
  'ZRANGE',
  keys.failed_deliveries(args.tenant),
  args.since_ms,
  upto,
  'BYSCORE',
  'LIMIT',
  args.skipped,
  args.limit
)
for _, id in ipairs(ids) do
  if outbox.redeliver(outbox.load(id), now) then sent = sent + 1 end
end
redis.call('HSET', keys.redelivered(args.token), 'looked', #ids, 'count', sent, 'until', upto)
redis.call('PEXPIRE', keys.redelivered(args.token), 60000)
return { #ids, sent, upto }
