#!lua flags=allow-oom
-- Keeps what the provider sold us, before anything is fetched.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 answer (JSON)  5 its record's id ('' none)
--       6 seconds the provider took  7 what its object's key will begin with  8 signal
--       9 by what the answer is recognized
-- Gives 'ok' | 'repeated' (nothing is kept: it has the record or the URL of another job) | 'lost'
local job, word = dr.load_fenced(ARGV[1], ARGV[2], 'checkpoint', ARGV[3])
if not job then return word end
local now = dr.now()
if dr.is_repeated(ARGV[9], now) then
  -- no look-up of this record would find anything of the job's own
  redis.call('HDEL', KEYS[1], 'pending', 'record_id')
  return 'repeated'
end
-- it got further than with the workers that were lost: those are not held against it any more
redis.call('HDEL', KEYS[1], 'pending', 'worker_losses_here', 'isolated', 'failed_key')
dr.apply_signal(ARGV[8], now, job)
dr.charge_credits(job, now)
dr.transition(job, 'fetching', now,
  { 'answer', ARGV[4], 'record_id', ARGV[5], 't_provider', ARGV[6], 'object', ARGV[7] })
return 'ok'
