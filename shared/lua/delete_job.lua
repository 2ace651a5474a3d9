#!lua flags=allow-oom
-- Forgets a final job and sends its image to the trash.
-- KEYS  1 the job  2 the mark that it was forgotten, for a request that is sent again
-- ARGV  1 id  2 tenant  3 sources  4 a word of this request's own
-- Gives 'ok' | 'missing' | 'state' status
local job = dr.job(ARGV[1])
if not job or job.tenant ~= ARGV[2] then
  return { redis.call('GET', KEYS[2]) == ARGV[4] and 'ok' or 'missing' }
end
if not dr.has_word(job.state, ARGV[3]) then return { 'state', dr.status(job.state) } end
dr.delete_job(job, dr.now())
redis.call('SET', KEYS[2], ARGV[4], 'PX', 60000)
return { 'ok' }
