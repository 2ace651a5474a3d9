#!lua flags=allow-oom
-- Notes, before a byte is sent, that the provider is being asked. A job whose deadline has passed ends instead.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 what the asking may buy: 1 picture, 0 for looking up a record
--       5 the provider key that asks ('' for looking up)
-- Gives 'ok' | 'lost'
local job, word = dr.load_fenced(ARGV[1], ARGV[2], 'start_call', ARGV[3])
if not job then return word end
local now = dr.now()
if tonumber(job.deadline) <= now then
  dr.expire(job, now)
  return 'lost'
end
redis.call('HINCRBY', KEYS[1], 'calls', ARGV[4])
dr.transition(job, 'calling', now, ARGV[5] ~= '' and { 'call_key', ARGV[5] } or {})
return 'ok'
