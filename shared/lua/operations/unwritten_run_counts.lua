#!lua flags=no-writes
-- Read the next run counts of days that are over and not in the history yet. There are none until the history has
-- erased the tags of deleted tenants: it might have their rows with tags, which would count beside those without.
-- Returns { { 'day tenant', ... }, { { field, value, ... }, ... } }
local args, clock, keys, run_counts, util = ... -- requires
if redis.call('EXISTS', keys.history_tenant_deletions) == 1 then return { {}, {} } end
local last = clock.day(clock.now() - args.settle_ms) - 1
local names = redis.call('ZRANGE', keys.counted_days, 0, util.int(last), 'BYSCORE', 'LIMIT', 0, args.limit)
return { names, run_counts.read(names) }
