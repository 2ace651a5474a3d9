#!lua flags=allow-oom
-- Forgets the final jobs whose time of keeping is over, and sends their images to the trash; and the
-- endpoints that are off and were not used for long.
-- KEYS  1 the jobs by the time they are kept until  2 the endpoints by the same
-- ARGV  1 most jobs
-- Gives how many jobs were forgotten
local now, forgotten = dr.now(), 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local job = dr.job(id)
  if job then
    dr.delete_job(job, now)
    forgotten = forgotten + 1
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  dr.delete_endpoint(id)
end
return forgotten
