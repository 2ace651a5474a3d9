#!lua flags=allow-oom
-- Queues a job again after something went wrong with this attempt.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 wait (ms)  5 give the attempt back ('1')  6 unknown ('1')
--       7 regenerate ('1': forget the answer, buy again)  8 signal for the gate  9 code  10 message
--       11 what was said (JSON)  12 the key that failed ('' none did)
-- Gives 'ok' | 'lost'
local job, word = dr.load_fenced(ARGV[1], ARGV[2], 'requeue', ARGV[3])
if not job then return word end
local now = dr.now()
dr.record_attempt_error(job, now, ARGV[5] == '1' and 'held' or 'retry', ARGV[11])
if ARGV[5] == '1' then job.attempt = dr.int(math.max(job.attempt - 1, 0)) end
if ARGV[6] == '1' then
  redis.call('HINCRBY', KEYS[1], 'unknown', 1)
  dr.charge_credits(job, now)
end
if ARGV[7] == '1' then
  redis.call('HINCRBY', KEYS[1], 'regenerated', 1)
  redis.call('HDEL', KEYS[1], 'answer', 'object')
  dr.schedule_image_deletion(job, now)
  job.answer = nil
end
dr.apply_signal(ARGV[8], now, job)
local fields = { 'last_error_code', ARGV[9], 'last_error_message', ARGV[10] }
if ARGV[12] ~= '' then fields[#fields + 1], fields[#fields + 2] = 'failed_key', ARGV[12] end
dr.requeue(job, now, tonumber(ARGV[4]), fields)
return 'ok'
