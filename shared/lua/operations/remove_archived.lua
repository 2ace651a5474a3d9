#!lua flags=allow-oom
-- Remove jobs from Redis that the history has: those that are still as it has them.
-- Returns how many were removed
local args, archive, clock, jobs, keys = ... -- requires
local now, removed = clock.now(), 0
for i = 1, #args.versions, 2 do
  local job = jobs.load(args.versions[i])
  if job and job.version == args.versions[i + 1] and archive.may_leave(job, now) then
    jobs.remove(job, now)
    removed = removed + 1
  end
end
redis.call('DEL', keys.history_failing)
return removed
