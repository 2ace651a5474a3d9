#!lua flags=no-writes
-- Reads one job, and what is needed to say why it waits.
-- KEYS  1 the job
-- ARGV  1 id  2 tenant ('' any)
-- Gives {} where there is no such job of this tenant, else { rank, reason, eta, record... }, the
--       first three as dr.position has them
local job = dr.record(ARGV[1])
if not job or (ARGV[2] ~= '' and job.tenant ~= ARGV[2]) then return {} end
local reply = { dr.position(ARGV[1], job, dr.now(), {}) }
for name, value in pairs(job) do
  reply[#reply + 1] = name
  reply[#reply + 1] = value
end
return reply
