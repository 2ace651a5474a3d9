-- The limits of a tenant.
local keys = ... -- requires

local M = {}

-- Return a tenant's weight and cap, and the daily credits of its budget (nil: no budget). A weight of zero would stop
-- the virtual time, and an unlimited one would be lost in rounding: a year of 100 jobs a second at the smallest
-- weight takes virtual time to 2^61, where it is exact to 512. (NaN fails every comparison, so the bounds come
-- first.)
local LEAST, MOST = 0.001, 1000

function M.for_queue(group)
  local given = redis.call('HMGET', keys.tenant(group), 'weight', 'max_running', 'daily_credits', 'budget_action')
  local weight = math.min(MOST, math.max(LEAST, tonumber(given[1]) or 1))
  return weight, tonumber(given[2]) or math.huge, given[4] == 'hold' and tonumber(given[3]) or nil
end

-- Return the requested limits of a tenant; `running` and `budget` are arguments of wait_estimate.wait_state.
function M.load(tenant)
  local given = redis.call(
    'HMGET',
    keys.tenant(tenant),
    'requests_per_minute',
    'max_queued',
    'daily_credits',
    'budget_action',
    'max_running'
  )
  local requests, credits = tonumber(given[1]), tonumber(given[3])
  local holds = given[4] == 'hold'
  return {
    requests = requests and math.floor(requests),
    queued = tonumber(given[2]),
    credits = not holds and credits or nil,
    budget = holds and credits or nil,
    running = tonumber(given[5]) or math.huge,
  }
end

return M
