#!lua flags=allow-oom
-- Record that the history cannot store a final job: it stays in Redis and is tried again later.
-- Returns 'ok'
local args, clock, keys, util = ... -- requires
local now = clock.now()
if not redis.call('ZSCORE', keys.archive_due, args.id) then return 'ok' end
redis.call('ZADD', keys.archive_due, now + C.archive_refused_ms, args.id)
redis.call('ZADD', keys.archive_refused, 'NX', util.int(now), args.id)
return 'ok'
