#!lua flags=no-writes
-- Says what would become of a job, and writes nothing.
-- ARGV  1 tenant  2 deadline (ms)  3 priority  4 credits  5 most before it  6 longest wait (ms; 5
--       and 6: '' any)  7 what an identical request is known by ('' not to be reused)  8 model
-- Gives { refusal ('' none), detail, wait, position, eta (ms, -1 not known), reason,
--         id of the job whose picture would be reused ('' none), rate... }
local tenant, now = ARGV[1], dr.now()
local source = ARGV[7] ~= '' and dr.reusable(tenant, ARGV[7])
local ask = {
  tenant = tenant, may = dr.load_limits(tenant), now = now, n = source and 0 or 1, requests = 1,
  credits = source and 0 or tonumber(ARGV[4]), free = source,
  rank = now + C.priority_offset_ms[ARGV[3]], deadline = tonumber(ARGV[2]),
  model = ARGV[8], max_position = tonumber(ARGV[5]), max_wait = tonumber(ARGV[6]),
}
local fault, position, eta, outlook = dr.check_admission(ask)
fault = fault or { '', '', '' }
local reply = { fault[1], fault[2], fault[3], position, eta or -1, outlook.reason, source or '' }
return dr.with_rate(reply, ask)
