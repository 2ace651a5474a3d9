#!lua flags=no-writes
-- Count the deliveries that failed since a time.
-- Returns how many, and up to when (ms)
local args, clock, keys, util = ... -- requires
local now = util.int(clock.now())
return { redis.call('ZCOUNT', keys.failed_deliveries(args.tenant), args.since_ms, now), now }
