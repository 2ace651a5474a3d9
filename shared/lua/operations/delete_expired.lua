#!lua flags=allow-oom
-- Delete the final jobs and the images whose retention has ended. Where there is a history, schedule the move of final
-- jobs that ended while there was none. Delete disabled endpoints that were not used for a long time, old events of
-- tenants, and the index of run counts that have expired. Where there is no history, delete the oldest audit entries
-- beyond the most that are kept.
-- Returns how many jobs and images were deleted
local args, archive, batches, clock, endpoints, jobs, keys, run_counts, tenant_events = ... -- requires
local now, deleted = clock.now(), 0
local has_history = C.archive_after_ms > 0
if not has_history then
  redis.call('DEL', keys.history_failing)
  redis.call('XTRIM', keys.audit, 'MAXLEN', '~', C.audit_entries)
end

-- Call `act` for the final jobs of a sorted set that are due by a time, and `act_on_batch` for its batches.
local function each(key, by, act, act_on_batch)
  for _, id in ipairs(redis.call('ZRANGE', key, '-inf', by, 'BYSCORE', 'LIMIT', 0, args.limit)) do
    local job = jobs.load(id)
    if job then
      act(job)
    else
      redis.call('ZREM', key, id)
      if act_on_batch and string.match(id, '^batch_') then act_on_batch(id) end
    end
  end
end

local function reschedule(job) jobs.reschedule_end(job, now) end
local function remove_empty(batch)
  if not batches.has_live_jobs(batch) then batches.remove(batch, now) end
end

-- jobs of a time when there was a history
if not has_history then each(keys.archive_due, '+inf', reschedule, remove_empty) end
if has_history then archive.schedule_missing(now, tonumber(args.limit)) end
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
tenant_events.delete_expired(now, args.limit)
run_counts.delete_expired(now)
return deleted
