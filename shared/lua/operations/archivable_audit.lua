#!lua flags=no-writes
-- Read the oldest audit entries that are to move to the history.
-- Returns { { id, { field, value, ... } }, ... }
local args, clock, keys, util = ... -- requires
return redis.call('XRANGE', keys.audit, '-', util.int(clock.now() - args.settle_ms), 'COUNT', args.limit)
