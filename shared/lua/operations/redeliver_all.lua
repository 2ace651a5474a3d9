#!lua flags=allow-oom
-- Send the deliveries of all tenants that failed since a time again, for an operator: one chunk. `skipped` are the first,
-- which were looked at before and are not sent.
-- Returns how many were looked at (fewer than `args.limit` are the last), how many are sent again, and how many are not
--       sent and found again
local args, audit, clock, keys, outbox = ... -- requires
local before = audit.replay(args)
if before then return before end
local now, moved, skipped = clock.now(), 0, 0
local ids = redis.call(
  'ZRANGE',
  keys.failed_deliveries(args.tenant),
  args.since_ms,
  args.until_ms,
  'BYSCORE',
  'LIMIT',
  args.skipped,
  args.limit
)
for _, id in ipairs(ids) do
  local delivery = outbox.load(id)
  if delivery and delivery.state == 'failed' then
    if outbox.redeliver(delivery, now) then
      moved = moved + 1
    else
      skipped = skipped + 1
    end
  else
    -- a process of an older version ended it, which knows the tenant's index alone
    redis.call('ZREM', keys.failed_deliveries(''), id)
  end
end
local detail = '{"since":' .. args.since_ms .. ',"moved":' .. moved .. '}'
return audit.record(
  args,
  'deliveries.redeliver',
  args.tenant ~= '' and args.tenant or '*',
  detail,
  { #ids, moved, skipped }
)
