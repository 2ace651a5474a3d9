#!lua flags=allow-oom
-- Delete the final jobs and the images whose retention has ended. Delete disabled endpoints that were not used for a
-- long time, and the index of run counts that have expired.
-- Returns how many jobs and images were deleted
local args, clock, endpoints, jobs, keys, run_counts = ... -- requires
local now, deleted = clock.now(), 0
local has_history = C.archive_after_ms > 0
if not has_history then redis.call('DEL', keys.history_failing) end

-- Call `act` for the final jobs of a sorted set that are due by a time.
local function each(key, by, act)
  for _, id in ipairs(redis.call('ZRANGE', key, '-inf', by, 'BYSCORE', 'LIMIT', 0, args.limit)) do
    local job = jobs.load(id)
    if job then
      act(job)
    else
      redis.call('ZREM', key, id)
    end
  end
end

local function reschedule(job) jobs.reschedule_end(job, now) end

-- jobs of a time when there was a history
if not has_history then each(keys.archive_due, '+inf', reschedule) end
each(keys.expiries, now, function(job)
  if has_history and not redis.call('ZSCORE', keys.archive_due, job.id) then
    -- of a time when there was none: seven days were only the default
    reschedule(job)
  else
    jobs.delete(job, now)
    deleted = deleted + 1
  end
end)
each(keys.image_expiries, now, function(job)
  jobs.delete_image(job, now)
  deleted = deleted + 1
end)
for _, id in ipairs(redis.call('ZRANGE', keys.endpoint_expiries, '-inf', now, 'BYSCORE', 'LIMIT', 0, args.limit)) do
  endpoints.delete(id)
end
run_counts.delete_expired(now)
return deleted
