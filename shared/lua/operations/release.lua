#!lua flags=allow-oom
-- Return a job unchanged to the queue, with its attempt, because its worker shuts down.
-- Returns 'ok' | 'lost'
local args, clock, jobs, util = ... -- requires
local job, word = jobs.load_fenced(args.id, args.fence, 'release')
if not job then return word end
job.attempt = util.int(math.max(job.attempt - 1, 0))
jobs.requeue(job, clock.now(), 0, {})
return 'ok'
