#!lua flags=allow-oom
-- Sends again what failed from a time on, for an operator: a piece of it.
-- KEYS  1 the failed deliveries, of one tenant or of all
-- ARGV  1 word  2 by  3 request  4 from (ms)  5 to (ms)  6 most  7 whose ('*' all tenants)
-- Gives how many were looked at (fewer than `most` are the last), and how many are sent again
local before = dr.replay(ARGV)
if before then return before end
local now, moved = dr.now(), 0
local ids = redis.call('ZRANGE', KEYS[1], ARGV[4], ARGV[5], 'BYSCORE', 'LIMIT', 0, ARGV[6])
for _, id in ipairs(ids) do
  local delivery = dr.delivery(id)
  if delivery and delivery.state == 'failed' then
    dr.redeliver(delivery, now)
    moved = moved + 1
  else
    -- a process of an older version moved it, which knows the tenant's index alone
    redis.call('ZREM', dr.failed_key(''), id)
  end
end
local detail = '{"since":' .. ARGV[4] .. ',"moved":' .. moved .. '}'
return dr.audit(ARGV, 'deliveries.redeliver', ARGV[7], detail, { #ids, moved })
