#!lua
-- Queue a failed or canceled job again, as the same job: its next run. The
-- API key that retries it pays for the run.
-- Returns 'ok' record... | 'missing' | 'state' status | a refusal of admission.check, rate...
local args, admission, clock, jobs, jobs_create, keys, util = ... -- requires
local job = jobs.load(args.id)
if not job or job.tenant ~= args.tenant then return { 'missing' } end
local mark = 'rerun ' .. args.token
if job.last ~= mark then
  if not jobs.may(job, 'rerun') then return { 'state', jobs.status(job.state) } end
  local fault, ask = jobs_create.rerun(job, clock.now(), tonumber(args.deadline_ms), mark, 1, args.api_key)
  if fault then return admission.with_rate(fault, ask) end
end
return util.append({ 'ok' }, redis.call('HGETALL', keys.job(args.id)))
