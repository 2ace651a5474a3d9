#!lua flags=allow-oom
-- Notes that the provider works on a job under a record of its own: from now on the outcome is
-- looked up there, and never unknown.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 the record's id  5 by what it is recognized
-- Gives 'ok' | 'repeated' (nothing is noted: it is the record of another job) | 'lost'
local known = redis.call('HMGET', KEYS[1], 'fence', 'state', 'pending')
if known[1] ~= ARGV[2] or not dr.has_word(known[2], ARGV[3]) then return 'lost' end
if dr.is_repeated(ARGV[5], dr.now()) then
  redis.call('HDEL', KEYS[1], 'pending', 'record_id')
  return 'repeated'
end
redis.call('HSET', KEYS[1], 'pending', ARGV[4], 'record_id', ARGV[4])
-- as at the checkpoint; but one record in place of another, which the provider has forgotten, is no
-- step further, and would never end
if not known[3] then redis.call('HDEL', KEYS[1], 'worker_losses_here', 'isolated') end
return 'ok'
