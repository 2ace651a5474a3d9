#!lua flags=no-writes
-- Read run counts by their names ('day tenant').
-- Returns { { field, value, ... }, ... }
local args, run_counts = ... -- requires
return run_counts.read(args.counted)
