#!lua flags=allow-oom
-- Where there is no history, delete the final jobs whose retention has ended, and schedule their images for deletion.
-- Delete disabled endpoints that were not used for a long time, and the index of run counts that have expired.
-- Returns how many jobs were deleted
local args, clock, endpoints, jobs, keys, run_counts = ... -- requires
local now, forgotten = clock.now(), 0
local has_history = C.archive_after_ms > 0
if not has_history then redis.call('DEL', keys.history_failing) end

-- jobs of a time when there was a history
for _, id in ipairs(has_history and {} or redis.call('ZRANGE', keys.archive_due, 0, args.limit - 1)) do
  local finished = redis.call('HGET', keys.job(id), 'finished')
  redis.call('ZREM', keys.archive_due, id)
  redis.call('ZADD', keys.expiries, (finished or now) + C.retention_ms, id)
end
local due = has_history and {} or redis.call('ZRANGE', keys.expiries, '-inf', now, 'BYSCORE', 'LIMIT', 0, args.limit)
for _, id in ipairs(due) do
  local job = jobs.load(id)
  if job then
    jobs.delete(job, now)
    forgotten = forgotten + 1
  else
    redis.call('ZREM', keys.expiries, id)
  end
end
for _, id in ipairs(redis.call('ZRANGE', keys.endpoint_expiries, '-inf', now, 'BYSCORE', 'LIMIT', 0, args.limit)) do
  endpoints.delete(id)
end
run_counts.delete_expired(now)
return forgotten
