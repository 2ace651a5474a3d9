#!lua flags=allow-oom
-- Send the deliveries of all tenants that failed since a time again, for an operator: one chunk.
-- Returns how many were looked at (fewer than `args.limit` are the last), and how many are sent again
local args, audit, clock, keys, outbox = ... -- requires
local before = audit.replay(args)
if before then return before end
local now, moved = clock.now(), 0
local ids = redis.call(
  'ZRANGE',
  keys.failed_deliveries(args.tenant),
  args.since_ms,
  args.until_ms,
  'BYSCORE',
  'LIMIT',
  0,
  args.limit
)
for _, id in ipairs(ids) do
  local delivery = outbox.load(id)
  if delivery and delivery.state == 'failed' then
    outbox.redeliver(delivery, now)
    moved = moved + 1
  else
    -- a process of an older version ended it, which knows the tenant's index alone
    redis.call('ZREM', keys.failed_deliveries(''), id)
  end
end
local detail = '{"since":' .. args.since_ms .. ',"moved":' .. moved .. '}'
return audit.record(args, 'deliveries.redeliver', args.tenant ~= '' and args.tenant or '*', detail, { #ids, moved })
