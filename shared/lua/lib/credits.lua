-- Credits, as estimated: reserved for jobs that have not called the provider yet, charged by calls that may have been
-- billed. A payer is a tenant, or an API key as `key:<id>`. Days and months are those of Redis' clock, in UTC.
local clock, keys, util = ... -- requires

local M = {}

-- Tags of one day that are counted separately; further tags are counted together, as ''.
local TAGS_MOST = 100

M.EPSILON = 0.000001 -- sums of fractions of credits are never quite exact

local function day_key(tenant, day) return keys.usage(tenant, util.int(day)) end

local function month_key(payer, now) return keys.month_usage(payer, util.int((clock.month(now)))) end

-- Return what counts for the budgets of a tenant on a day: not what an earlier tenant of its name spent, which stays for
-- the reports.
local function used_on_day(tenant, day)
  local known = redis.call('HMGET', day_key(tenant, day), 'credits', 'uncounted')
  return (tonumber(known[1]) or 0) - (tonumber(known[2]) or 0)
end

-- Return the key of what counts for a budget in the present day or month.
function M.usage_key(budget, now)
  if budget.period == 'day' then return day_key(budget.payer, clock.day(now)) end
  return month_key(budget.payer, now)
end

-- Return what a payer spent this month. Before its first call of the month, and after an update from a version that did
-- not count months, that is the sum of the days of a tenant since it was created; a key has no days.
local function used_in_month(payer, now)
  local known = redis.call('HGET', month_key(payer, now), 'credits')
  if known or string.find(payer, ':', 1, true) then return tonumber(known) or 0 end
  local sum, created = 0, tonumber(redis.call('HGET', keys.tenant(payer), 'created')) or 0
  for day = math.max((clock.month(now)), clock.day(created)), clock.day(now) do
    sum = sum + used_on_day(payer, day)
  end
  return sum
end

-- Return what counts as used for a budget in the present day or month.
function M.used(budget, now)
  if budget.period == 'month' then return used_in_month(budget.payer, now) end
  return used_on_day(budget.payer, clock.day(now))
end

function M.reserved(payer) return tonumber(redis.call('HGET', keys.reserved_credits, payer)) or 0 end

-- Reserve credits for jobs; a budget counts reserved credits as spent.
function M.reserve(payer, credits)
  if credits == 0 then return end
  local left = tonumber(redis.call('HINCRBYFLOAT', keys.reserved_credits, payer, credits))
  if left < M.EPSILON then redis.call('HDEL', keys.reserved_credits, payer) end
end

-- Release the credits reserved for a job that will make no call.
function M.release(job)
  if not job.reserved_credits then return end
  M.reserve(job.tenant, -job.reserved_credits)
  if job.reserved_for then M.reserve(job.reserved_for, -job.reserved_credits) end
  redis.call('HDEL', keys.job(job.id), 'reserved_credits', 'reserved_for')
  job.reserved_credits, job.reserved_for = nil, nil
end

local function count_call(key, tag, credits)
  redis.call('HINCRBY', key, tag and 'calls:' .. tag or 'calls', 1)
  if credits > 0 then redis.call('HINCRBYFLOAT', key, tag and 'credits:' .. tag or 'credits', credits) end
end

local function count_in_month(payer, credits, now)
  local key, before = month_key(payer, now), used_in_month(payer, now)
  redis.call('HSET', key, 'credits', string.format('%.17g', before + credits))
  redis.call('PEXPIRE', key, C.usage_ms)
end

-- Count a call that was, or may have been, billed: for the run, for the day, month and tags of the tenant, and for the
-- month of the key that pays (nil: none is known).
function M.charge(job, payer, now)
  M.release(job)
  job.charged = redis.call('HINCRBY', keys.job(job.id), 'charged', 1)
  local key, credits = day_key(job.tenant, clock.day(now)), tonumber(job.credits) or 0
  if credits > 0 then
    count_in_month(job.tenant, credits, now) -- before the day, which it may begin from
    if payer then count_in_month(payer, credits, now) end
  end
  count_call(key, nil, credits)
  for _, tag in ipairs(util.tags(job.tags)) do
    local counted = redis.call('HEXISTS', key, 'calls:' .. tag) == 1
    -- two fields for each tag and two for the total
    if not counted and redis.call('HLEN', key) >= 2 * TAGS_MOST + 2 then tag = '' end
    count_call(key, tag, credits)
  end
  redis.call('PEXPIRE', key, C.usage_ms)
end

-- Start the budgets of a new tenant at 0, whatever an earlier tenant of its name spent.
function M.start(tenant, now)
  local day = day_key(tenant, clock.day(now))
  local spent = redis.call('HGET', day, 'credits')
  if spent then redis.call('HSET', day, 'uncounted', spent) end
  redis.call('HDEL', day, 'threshold')
  redis.call('DEL', month_key(tenant, now))
end

-- Erase the tags in what a tenant spent on a day; the total stays.
function M.erase_tags(tenant, day)
  local key, tagged = keys.usage(tenant, day), {}
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.find(name, ':', 1, true) then tagged[#tagged + 1] = name end
  end
  if #tagged > 0 then redis.call('HDEL', key, unpack(tagged)) end
end

-- Return whether one of some budgets holds queued jobs once it is spent. All of a tenant's do, or none.
function M.any_holds(budgets) return budgets[1] ~= nil and budgets[1].holds end

-- Return the highest price of a call. Jobs are charged the prices of the API that accepted them, so those that it has
-- recorded count; those of this process only if there are none.
local function highest_price()
  local recorded = redis.call('GET', keys.prices)
  if not recorded then return C.credits_most end
  local most = 0
  for _, price in pairs(cjson.decode(recorded)) do
    if price ~= cjson.null then most = math.max(most, price) end
  end
  return most
end

-- Return until when the budgets that hold queued jobs admit no further one, because it might exceed a budget; nil if
-- they admit one. Each running job counts as the most expensive one until it ends, so concurrent calls never exceed a
-- budget.
function M.held_until(budgets, running, now)
  local latest
  if not M.any_holds(budgets or {}) then return nil end
  local committed = (running + 1) * highest_price()
  for _, budget in ipairs(budgets) do
    if budget.holds and M.used(budget, now) + committed > budget.limit + M.EPSILON then
      latest = math.max(latest or 0, clock.period_end(budget.period, now))
    end
  end
  return latest
end

return M
