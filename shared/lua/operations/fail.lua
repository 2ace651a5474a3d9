#!lua flags=allow-oom
-- End a job with an error.
-- Returns 'ok' | 'lost'
local args, clock, jobs, keys, signals = ... -- requires
local job, word = jobs.load_fenced(args.id, args.fence, 'fail')
if not job then return word end
local now = clock.now()
jobs.record_attempt_error(job, now, 'failed', args.excerpt)
if args.unknown == '1' then redis.call('HINCRBY', keys.job(args.id), 'unknown', 1) end
if args.unknown == '1' or job.pending then jobs.charge(job, now) end -- it may be billed all the same
signals.apply(args.signal, now, job)
if args.discard_answer == '1' then redis.call('HDEL', keys.job(args.id), 'answer') end
jobs.fail(job, now, args.code, args.message, args.retryable)
return 'ok'
