#!lua flags=no-writes
-- Counts the deliveries that failed from a time on.
-- KEYS  1 the failed deliveries, of one tenant or of all
-- ARGV  1 from (ms)
-- Gives how many, and up to when (ms)
local now = dr.int(dr.now())
return { redis.call('ZCOUNT', KEYS[1], ARGV[1], now), now }
