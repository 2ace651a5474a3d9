#!lua flags=allow-oom
-- Queue a job again after its attempt failed.
-- Returns 'ok' | 'lost'
local args, clock, jobs, keys, signals, util = ... -- requires
local job, word = jobs.load_fenced(args.id, args.fence, 'requeue')
if not job then return word end
local now = clock.now()
jobs.record_attempt_error(job, now, args.refund_attempt == '1' and 'held' or 'retry', args.excerpt)
if args.refund_attempt == '1' then job.attempt = util.int(math.max(job.attempt - 1, 0)) end
if args.unknown == '1' then
  redis.call('HINCRBY', keys.job(args.id), 'unknown', 1)
  jobs.charge(job, now)
end
if args.regenerate == '1' then
  redis.call('HINCRBY', keys.job(args.id), 'regenerated', 1)
  redis.call('HDEL', keys.job(args.id), 'answer', 'object')
  jobs.schedule_image_deletion(job, now)
  job.answer = nil
end
-- the next attempt is a call of its own; with the record left it would be a look-up, which is not counted
if args.unknown == '1' or args.forget_record == '1' then
  redis.call('HDEL', keys.job(args.id), 'pending')
  job.pending = nil
end
signals.apply(args.signal, now, job)
local fields = { 'last_error_code', args.code, 'last_error_message', args.message }
if args.failed_key ~= '' then
  fields[#fields + 1], fields[#fields + 2] = 'failed_key', args.failed_key
end
jobs.requeue(job, now, tonumber(args.wait_ms), fields)
return 'ok'
