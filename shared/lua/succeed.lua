#!lua flags=allow-oom
-- Ends a job well: its picture is stored.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources  4 image (JSON)  5 download  6 store (seconds)
--       7 what an identical request is known by ('' the image is not given to one)
-- Gives 'ok' | 'lost'
local job, word = dr.load_fenced(ARGV[1], ARGV[2], 'succeed', ARGV[3])
if not job then return word end
local now = dr.now()
dr.apply_signal('stored', now, job)
if ARGV[7] ~= '' then dr.cache_result(job, ARGV[7]) end
redis.call('HDEL', KEYS[1], 'answer', 'object', 'call_key') -- its address is a secret that nobody needs any more
dr.finish(job, 'succeeded', now,
  { 'image', ARGV[4], 't_download', ARGV[5], 't_store', ARGV[6] })
return 'ok'
