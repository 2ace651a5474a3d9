#!lua flags=allow-oom
-- Keeps what the provider sold us, before anything is fetched.
-- Returns 'ok' | 'repeated' (nothing is kept: it has the record or the URL of another job) | 'lost'
local args, answers, clock, jobs, keys, signals = ... -- requires
local job, word = jobs.load_fenced(args.id, args.fence, 'checkpoint')
if not job then return word end
local now = clock.now()
if answers.is_repeated(args.identities, now) then
  -- no look-up of this record would find anything of the job's own
  redis.call('HDEL', keys.job(args.id), 'pending', 'record_id')
  return 'repeated'
end
-- it got further than with the workers that were lost: those are not held against it any more
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
