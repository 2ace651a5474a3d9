#!lua
-- Write a job back that was read from the history, so that it can change again.
-- Returns 'ok' | 'missing' (it is deleted) | 'late' (it may have changed since it was read)
local args, archive, clock, keys = ... -- requires
local now = clock.now()
if redis.call('EXISTS', keys.job(args.id)) == 1 then return 'ok' end
if redis.call('ZSCORE', keys.history_deletions, args.id) then return 'missing' end
if now > tonumber(args.not_after_ms) then return 'late' end
archive.restore(args.id, cjson.decode(args.parts), now)
return 'ok'
