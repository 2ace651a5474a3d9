#!lua flags=allow-oom
-- Cancel a job, at once even while a worker holds it, whose later writes are then refused.
-- Returns 'ok' record... | 'missing' | 'state' status
local args, clock, jobs, keys, util = ... -- requires
local job = jobs.load(args.id)
if not job or job.tenant ~= args.tenant then return { 'missing' } end
local mark = 'cancel ' .. args.token
if job.last ~= mark then
  if not jobs.may(job, 'cancel') then return { 'state', jobs.status(job.state) } end
  job.last = mark
  jobs.cancel(job, clock.now())
end
return util.append({ 'ok' }, redis.call('HGETALL', keys.job(args.id)))
