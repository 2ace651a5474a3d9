-- Credits, as estimated: reserved for jobs that have not called yet, charged by calls that may have been billed. A
-- day is Redis' own, in UTC.
local clock, keys, util = ... -- requires

local M = {}

-- Tags of one day that are counted apart; more are counted as one, ''.
local TAGS_MOST = 100

M.EPSILON = 0.000001 -- sums of fractions of credits are never quite exact

function M.used_today(tenant, now)
  return tonumber(redis.call('HGET', keys.usage(tenant, util.int(clock.day(now))), 'credits')) or 0
end

function M.reserved(tenant) return tonumber(redis.call('HGET', keys.reserved_credits, tenant)) or 0 end

-- Sets credits aside for jobs; a refusing budget counts them as if they were spent.
function M.reserve(tenant, credits)
  if credits == 0 then return end
  local left = tonumber(redis.call('HINCRBYFLOAT', keys.reserved_credits, tenant, credits))
  if left < M.EPSILON then redis.call('HDEL', keys.reserved_credits, tenant) end
end

-- Releases what was reserved for a job that will not call for it.
function M.release(job)
  if not job.reserved_credits then return end
  M.reserve(job.tenant, -job.reserved_credits)
  redis.call('HDEL', keys.job(job.id), 'reserved_credits')
  job.reserved_credits = nil
end

local function count_call(key, tag, credits)
  redis.call('HINCRBY', key, tag and 'calls:' .. tag or 'calls', 1)
  if credits > 0 then redis.call('HINCRBYFLOAT', key, tag and 'credits:' .. tag or 'credits', credits) end
end

-- Counts a call that was, or may have been, billed: for the tenant, its day, and the job's tags.
function M.charge(job, now)
  M.release(job)
  local known = redis.call('HMGET', keys.job(job.id), 'credits', 'tags')
  local key, credits = keys.usage(job.tenant, util.int(clock.day(now))), tonumber(known[1]) or 0
  count_call(key, nil, credits)
  for _, tag in ipairs(util.tags(known[2])) do
    local counted = redis.call('HEXISTS', key, 'calls:' .. tag) == 1
    -- two fields for each tag and two for all
    if not counted and redis.call('HLEN', key) >= 2 * TAGS_MOST + 2 then tag = '' end
    count_call(key, tag, credits)
  end
  redis.call('PEXPIRE', key, C.usage_ms)
end

-- Whether one more running job might go beyond a budget that holds. Each that runs counts as the
-- dearest there is until it ends, so the budget is never passed, whatever is called at once.
function M.is_over_budget(group, running, budget, now)
  if not budget then return false end
  return M.used_today(group, now) + (running + 1) * C.credits_most > budget + M.EPSILON
end

return M
