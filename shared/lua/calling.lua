#!lua flags=allow-oom
-- Notes, before a byte is sent, that the provider is being asked.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 what the asking may buy: 1 picture, 0 for looking up a record
-- Gives 'ok' | 'lost'
local job, word = dr.held(ARGV[1], ARGV[2], 'calling', ARGV[3])
if not job then return word end
redis.call('HINCRBY', KEYS[1], 'calls', ARGV[4])
dr.move(job, 'calling', dr.now(), {})
return 'ok'
