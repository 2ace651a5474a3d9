#!lua flags=allow-oom
-- Cancels a job: at once, also while a worker holds it, whose later writes are then refused.
-- KEYS  1 the job
-- ARGV  1 id  2 tenant  3 sources  4 a word of this request's own, by which it is known when sent again
-- Gives 'ok' record... | 'missing' | 'state' status
local job = dr.job(ARGV[1])
if not job or job.tenant ~= ARGV[2] then return { 'missing' } end
local mark = 'cancel ' .. ARGV[4]
if job.last ~= mark then
  if not dr.has_word(job.state, ARGV[3]) then return { 'state', dr.status(job.state) } end
  job.last = mark
  local now = dr.now()
  if job.state == 'calling' or job.pending then dr.charge_credits(job, now) end -- it may be billed
  dr.cancel(job, now)
end
local reply = { 'ok' }
for _, value in ipairs(redis.call('HGETALL', KEYS[1])) do reply[#reply + 1] = value end
return reply
