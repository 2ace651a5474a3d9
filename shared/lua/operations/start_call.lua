#!lua flags=allow-oom
-- Record, before a byte is sent, that a call to the provider begins. A job whose deadline has passed ends instead.
-- Returns 'ok' | 'lost'
local args, clock, jobs, keys = ... -- requires
local job, word = jobs.load_fenced(args.id, args.fence, 'start_call')
if not job then return word end
local now = clock.now()
if tonumber(job.deadline) <= now then
  jobs.expire(job, now)
  return 'lost'
end
redis.call('HINCRBY', keys.job(args.id), 'calls', args.images)
jobs.transition(job, 'calling', now, args.key ~= '' and { 'call_key', args.key } or {})
return 'ok'
