#!lua flags=allow-oom
-- Sends again what failed from a time on, for an operator: a piece of it.
-- KEYS  1 the failed deliveries, of one tenant or of all
-- ARGV  1 word  2 by  3 request  4 from (ms)  5 to (ms)  6 most  7 whose ('*' all tenants)
-- WITH  owing, receivers
-- Gives how many; fewer than `most` are the last
local before = dr.answered()
if before then return before[1] end
local now = dr.now()
local ids = redis.call('ZRANGE', KEYS[1], ARGV[4], ARGV[5], 'BYSCORE', 'LIMIT', 0, ARGV[6])
for _, id in ipairs(ids) do dr.redeliver(dr.delivery(id), now) end
local detail = '{"since":' .. ARGV[4] .. ',"moved":' .. #ids .. '}'
return dr.audit('deliveries.redeliver', ARGV[7], detail, { #ids })[1]
