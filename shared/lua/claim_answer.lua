#!lua flags=allow-oom
-- Sees that what a look-up gave a paid job is the job's own, before it is fetched.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 by what the answer is recognized
-- Gives 'ok' | 'repeated' (the record or the URL of another job) | 'lost'
local known = redis.call('HMGET', KEYS[1], 'fence', 'state')
if known[1] ~= ARGV[2] or not dr.has_word(known[2], ARGV[3]) then return 'lost' end
return dr.is_repeated(ARGV[4], dr.now()) and 'repeated' or 'ok'
