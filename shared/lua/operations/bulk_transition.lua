#!lua
-- Retry or cancel the jobs that an operator was shown.
-- Returns how many were changed, then why, how many, ... of those that were not
local args, audit, clock, jobs, jobs_create, util = ... -- requires
local before = audit.replay(args)
if before then return before end
local now, mark, refused = clock.now(), 'bulk ' .. args.dedup_token, {}
local moved, is_rerun = 0, args.transition == 'rerun'

-- Change one job; return a code if it could not be changed.
local function move(id)
  local job = jobs.load(id)
  if not job then return 'gone' end
  if not jobs.may(job, args.transition) then return 'state' end
  if is_rerun then
    local fault = jobs_create.rerun(job, now, tonumber(args.deadline_ms), mark, 0, job.api_key)
    return fault and fault[1]
  end
  job.last = mark
  jobs.cancel(job, now)
end

for _, id in ipairs(args.ids) do
  local why = move(id)
  if why then
    refused[why] = (refused[why] or 0) + 1
  else
    moved = moved + 1
  end
end
local reply = { util.int(moved) }
for why, count in pairs(refused) do
  reply[#reply + 1] = why
  reply[#reply + 1] = util.int(count)
end
local detail = '{"filter":' .. args.filter .. ',"moved":' .. reply[1] .. '}'
return audit.record(args, is_rerun and 'jobs.retry' or 'jobs.cancel', args.tenant, detail, reply)
