#!lua flags=allow-oom
-- Delete a job that was read from the history: no read returns it from now on, and the archiver deletes it there.
-- Returns 'ok' | 'live' | 'late' (it may have changed since it was read)
local args, clock, keys = ... -- requires
local now = clock.now()
if redis.call('EXISTS', keys.job(args.id)) == 1 then return 'live' end
if redis.call('ZSCORE', keys.history_deletions, args.id) then return 'ok' end
if now > tonumber(args.not_after_ms) then return 'late' end
for _, object in ipairs(args.objects) do
  redis.call('ZADD', keys.object_deletions, now, object)
end
redis.call('ZADD', keys.history_deletions, now + C.history_deletion_delay_ms, args.id)
return 'ok'
