#!lua flags=allow-oom
-- Put a job back into the queue because its worker shuts down; the attempt does not count.
-- Returns 'ok' | 'lost'
local args, clock, jobs, util = ... -- requires
local job, word = jobs.load_fenced(args.id, args.fence, 'release')
if not job then return word end
job.attempt = util.int(math.max(job.attempt - 1, 0))
jobs.requeue(job, clock.now(), 0, {})
return 'ok'
