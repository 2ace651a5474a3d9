-- Credits, as estimated: reserved for jobs that have not called the provider yet, charged by calls that may have been
-- billed. A day is Redis' own, in UTC.
local clock, keys, util = ... -- requires

local M = {}

-- Tags of one day that are counted separately; further tags are counted together, as ''.
local TAGS_MOST = 100

M.EPSILON = 0.000001 -- sums of fractions of credits are never quite exact

function M.used_today(tenant, now)
  return tonumber(redis.call('HGET', keys.usage(tenant, util.int(clock.day(now))), 'credits')) or 0
end

function M.reserved(tenant) return tonumber(redis.call('HGET', keys.reserved_credits, tenant)) or 0 end

-- Reserve credits for jobs; a budget counts reserved credits as spent.
function M.reserve(tenant, credits)
  if credits == 0 then return end
  local left = tonumber(redis.call('HINCRBYFLOAT', keys.reserved_credits, tenant, credits))
  if left < M.EPSILON then redis.call('HDEL', keys.reserved_credits, tenant) end
end

-- Release the credits reserved for a job that will make no call.
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

-- Count a call that was, or may have been, billed: for the run, the tenant, its day, and the job's tags.
function M.charge(job, now)
  M.release(job)
  job.charged = redis.call('HINCRBY', keys.job(job.id), 'charged', 1)
  local key, credits = keys.usage(job.tenant, util.int(clock.day(now))), tonumber(job.credits) or 0
  count_call(key, nil, credits)
  for _, tag in ipairs(util.tags(job.tags)) do
    local counted = redis.call('HEXISTS', key, 'calls:' .. tag) == 1
    -- two fields for each tag and two for the total
    if not counted and redis.call('HLEN', key) >= 2 * TAGS_MOST + 2 then tag = '' end
    count_call(key, tag, credits)
  end
  redis.call('PEXPIRE', key, C.usage_ms)
end

-- Erase the tags in what a tenant spent on a day; the total stays.
function M.erase_tags(tenant, day)
  local key, tagged = keys.usage(tenant, day), {}
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.find(name, ':', 1, true) then tagged[#tagged + 1] = name end
  end
  if #tagged > 0 then redis.call('HDEL', key, unpack(tagged)) end
end

-- Return whether one more running job might exceed a budget. Each running job counts as the most expensive one until
-- it ends, so concurrent calls never exceed the budget.
function M.is_over_budget(group, running, budget, now)
  if not budget then return false end
  return M.used_today(group, now) + (running + 1) * C.credits_most > budget + M.EPSILON
end

return M
