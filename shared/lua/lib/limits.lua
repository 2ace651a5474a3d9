-- What a tenant may.
local keys = ... -- requires

local M = {}

-- Weight and cap of a tenant, and the credits of a day that hold a tenant (nil
-- none do). A weight of nothing would stop the virtual time, one without end would be lost in its
-- rounding: a year of 100 jobs a second at the least weight takes it to 2^61, where it is exact to
-- 512. (NaN loses every comparison: the bounds come first.)
local LEAST, MOST = 0.001, 1000

function M.for_queue(group)
  local given = redis.call('HMGET', keys.tenant(group), 'weight', 'max_running', 'daily_credits', 'budget_action')
  local weight = math.min(MOST, math.max(LEAST, tonumber(given[1]) or 1))
  return weight, tonumber(given[2]) or math.huge, given[4] == 'hold' and tonumber(given[3]) or nil
end

-- What a tenant may have, of what is asked for; `running` and `budget` as wait_estimate.wait_state wants them.
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
