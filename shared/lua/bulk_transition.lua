#!lua
-- Sends some jobs again, or cancels them: those that an operator was shown.
-- KEYS  1 the counts
-- ARGV  1 word  2 by  3 request  4 'rerun' or 'cancel'  5 sources  6 deadline (ms from now)
--       7 which were asked for (JSON)  8 whose ('*' all tenants')  9... ids
-- Gives how many were moved, then why, how many, ... of those that were not
local before = dr.replay(ARGV)
if before then return before end
local now, mark, refused = dr.now(), 'bulk ' .. ARGV[1], {}
local moved, is_rerun = 0, ARGV[4] == 'rerun'

-- Moves one job; gives a word where it could not be.
local function move(id)
  local job = dr.job(id)
  if not job then return 'gone' end
  if not dr.has_word(job.state, ARGV[5]) then return 'state' end
  if is_rerun then
    local fault = dr.rerun(job, now, tonumber(ARGV[6]), mark, 0)
    return fault and fault[1]
  end
  job.last = mark
  dr.cancel(job, now)
end

for i = 9, #ARGV do
  local why = move(ARGV[i])
  if why then
    refused[why] = (refused[why] or 0) + 1
  else
    moved = moved + 1
  end
end
local reply = { dr.int(moved) }
for why, count in pairs(refused) do
  reply[#reply + 1] = why
  reply[#reply + 1] = dr.int(count)
end
local detail = '{"filter":' .. ARGV[7] .. ',"moved":' .. reply[1] .. '}'
return dr.audit(ARGV, is_rerun and 'jobs.retry' or 'jobs.cancel', ARGV[8], detail, reply)
