-- Permits: Celery messages, each of which lets one worker thread claim once.
local queue = ... -- requires

local M = {}

-- Add one Celery message to the list if the claimable jobs need it. Each has ids of its own, because a Celery worker
-- takes messages with equal delivery tags for one. One counter serves both queues, since one worker may consume both.
-- When nothing can be claimed any more, the messages left are deleted: each would cost a worker an empty claim, as much
-- as half a job. Return whether a message was added, and whether anything can be claimed.
function M.push(q)
  local state = redis.call('HMGET', q.state, 'claimable', 'bound')
  local claimable = tonumber(state[1]) or 0
  if claimable <= 0 then
    redis.call('DEL', q.list)
    return false, false
  end
  local wanted = math.min(claimable, tonumber(state[2]) or C.permits_at_start)
  if redis.call('LLEN', q.list) >= wanted then return false, true end
  local id = string.format('%s-%012x', C.permit_prefix, redis.call('HINCRBY', queue.jobs.state, 'permits', 1))
  redis.call('LPUSH', q.list, (string.gsub(q.permit, C.permit_slot, id)))
  return true, true
end

return M
