#!lua flags=allow-oom
-- Delete the final jobs whose retention has ended, and schedule their images for deletion. Delete disabled endpoints
-- that were not used for a long time.
-- Returns how many jobs were deleted
local args, clock, endpoints, jobs, keys = ... -- requires
local now, forgotten = clock.now(), 0
for _, id in ipairs(redis.call('ZRANGE', keys.expiries, '-inf', now, 'BYSCORE', 'LIMIT', 0, args.limit)) do
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
return forgotten
