-- What operators and clients see of budgets, and the thresholds of what is used.
local clock, credits, keys, tenant_events, util = ... -- requires

local M = {}

-- Return whether what is used has reached a percentage of a budget. Unused budgets have reached none.
local function has_reached(budget, used, threshold)
  return used > 0 and used >= budget.limit * threshold / 100 - credits.EPSILON
end

-- Return a budget as one line: `scope period action limit used reserved threshold ms`. The last two are the highest
-- threshold that is reached (0: none), and when the period ends.
function M.describe(budget, now)
  local action, ends = budget.holds and 'hold' or 'refuse', util.int(clock.period_end(budget.period, now))
  local used, reserved, reached = credits.used(budget, now), credits.reserved(budget.payer), 0
  for _, threshold in ipairs(C.budget_thresholds) do
    if has_reached(budget, used, threshold) then reached = threshold end
  end
  local numbers = string.format('%.10g %.10g %.10g %d', budget.limit, used, reserved, reached)
  return table.concat({ budget.scope, budget.period, action, numbers, ends }, ' ')
end

function M.describe_all(budgets, now)
  local lines = {}
  for i, budget in ipairs(budgets) do
    lines[i] = M.describe(budget, now)
  end
  return lines
end

-- Add the events of a threshold that a budget has reached.
local function notify(tenant, budget, used, threshold, now)
  local ends = clock.period_end(budget.period, now)
  local data = {
    scope = budget.scope,
    period = budget.period,
    action = budget.holds and 'hold' or 'refuse',
    limit = budget.limit,
    used = used,
    threshold = threshold,
    resets_at = ends,
    key_id = string.match(budget.payer, '^key:(.*)$') or cjson.null,
  }
  local episode = table.concat({ budget.payer, budget.period, util.int(ends) }, ' ')
  tenant_events.add(tenant, 'budget.threshold', episode .. ' ' .. threshold, data, now)
  if threshold == 100 then tenant_events.add(tenant, 'budget.exhausted', episode, data, now) end
end

-- Record which thresholds the use of budgets has reached, and report each to the next sweep and to the endpoints that are
-- subscribed to them: once in a period, whatever becomes of the limit. Without a sweep, the last 10,000 are kept.
function M.record_thresholds(tenant, budgets, now)
  for _, budget in ipairs(budgets) do
    local key, used = credits.usage_key(budget, now), credits.used(budget, now)
    local reported = tonumber(redis.call('HGET', key, 'threshold')) or 0
    for _, threshold in ipairs(C.budget_thresholds) do
      if threshold > reported and has_reached(budget, used, threshold) then
        redis.call('HSET', key, 'threshold', threshold)
        redis.call('PEXPIRE', key, C.usage_ms)
        local line = table.concat({ tenant, budget.payer, threshold, M.describe(budget, now) }, ' ')
        if redis.call('RPUSH', keys.crossed_thresholds, line) > 10000 then
          redis.call('LPOP', keys.crossed_thresholds)
        end
        notify(tenant, budget, used, threshold, now)
      end
    end
  end
end

return M
