#!lua flags=allow-oom
-- Ends a job that cannot be done.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 code  5 message  6 retryable ('1')  7 unknown ('1')  8 signal
--       9 what was said (JSON)  10 '1': what the provider sold is of no use, forget it
-- Gives 'ok' | 'lost'
local job, word = dr.load_fenced(ARGV[1], ARGV[2], 'fail', ARGV[3])
if not job then return word end
local now = dr.now()
dr.record_attempt_error(job, now, 'failed', ARGV[9])
if ARGV[7] == '1' then redis.call('HINCRBY', KEYS[1], 'unknown', 1) end
if ARGV[7] == '1' or job.pending then dr.charge_credits(job, now) end -- it may be billed all the same
dr.apply_signal(ARGV[8], now, job)
if ARGV[10] == '1' then redis.call('HDEL', KEYS[1], 'answer') end
dr.fail(job, now, ARGV[4], ARGV[5], ARGV[6])
return 'ok'
