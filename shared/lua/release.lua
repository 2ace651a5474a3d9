#!lua flags=allow-oom
-- Gives a job back untouched, with its attempt: its worker shuts down.
-- KEYS  1 the job
-- ARGV  1 id  2 fence  3 sources
-- Gives 'ok' | 'lost'
local job, word = dr.load_fenced(ARGV[1], ARGV[2], 'release', ARGV[3])
if not job then return word end
job.attempt = dr.int(math.max(job.attempt - 1, 0))
dr.requeue(job, dr.now(), 0, {})
return 'ok'
