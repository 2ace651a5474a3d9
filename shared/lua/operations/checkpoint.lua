#!lua flags=allow-oom
-- Record the provider's answer, before the image is downloaded.
-- Returns 'ok' | 'repeated' (nothing is recorded: it has the record or the URL of another job) | 'lost'
local args, answers, clock, jobs, keys, signals = ... -- requires
local job, word = jobs.load_fenced(args.id, args.fence, 'checkpoint')
if not job then return word end
local now = clock.now()
if answers.is_repeated(args.identities, now) then
  -- a look-up of this record would never find the job's own image
  redis.call('HDEL', keys.job(args.id), 'pending', 'record_id')
  return 'repeated'
end
-- it made progress, so the workers lost before no longer count against it
redis.call('HDEL', keys.job(args.id), 'pending', 'worker_losses_here', 'isolated', 'failed_key')
signals.apply(args.signal, now, job)
jobs.charge(job, now)
jobs.transition(job, 'fetching', now, {
  'answer',
  args.answer,
  'record_id',
  args.record_id,
  't_provider',
  args.provider_seconds,
  'object',
  args.object_name,
})
return 'ok'
