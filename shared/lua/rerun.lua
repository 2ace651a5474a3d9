#!lua
-- Sends a failed or canceled job again, as the same job: its next run.
-- KEYS  1 the job
-- ARGV  1 id  2 tenant  3 sources  4 a word of this request's own  5 deadline (ms from now)
-- Gives 'ok' record... | 'missing' | 'state' status | a refusal of dr.check_admission, rate...
local job = dr.job(ARGV[1])
if not job or job.tenant ~= ARGV[2] then return { 'missing' } end
local mark = 'rerun ' .. ARGV[4]
if job.last ~= mark then
  if not dr.has_word(job.state, ARGV[3]) then return { 'state', dr.status(job.state) } end
    local fault, ask = dr.rerun(job, dr.now(), tonumber(ARGV[5]), mark, 1)
    if fault then return dr.with_rate(fault, ask) end
end
local reply = { 'ok' }
for _, value in ipairs(redis.call('HGETALL', KEYS[1])) do reply[#reply + 1] = value end
return reply
