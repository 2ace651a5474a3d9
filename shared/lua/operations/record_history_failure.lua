#!lua flags=allow-oom
-- Record since when the history has been failing. It ends when a job moves, or when none waits (remove_archived,
-- next_archivable).
-- Returns nothing
local clock, keys, util = ... -- requires
redis.call('SET', keys.history_failing, util.int(clock.now()), 'NX')
