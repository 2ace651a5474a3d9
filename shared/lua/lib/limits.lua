-- The limits of a tenant and of an API key.
local keys = ... -- requires

local M = {}

-- Return the budgets of a tenant as a list: scope, period, limit, payer (whose credits count), and whether a spent one
-- holds queued jobs instead of refusing new ones.
local function tenant_budgets(tenant, daily, monthly, action)
  local budgets = {}
  for period, limit in pairs({ day = daily or nil, month = monthly or nil }) do
    budgets[#budgets + 1] =
      { scope = 'tenant', period = period, limit = tonumber(limit), payer = tenant, holds = action == 'hold' }
  end
  return budgets
end

-- Return the payer of a key: the key itself, or `first`, the oldest of the keys that replaced each other.
local function payer_of(key, first) return 'key:' .. (first or key) end

-- Return a tenant's weight and cap, and its budgets if they hold queued jobs (nil: none does). A weight of zero would
-- stop the virtual time, and an unlimited one would be lost in rounding: a year of 100 jobs a second at the smallest
-- weight takes virtual time to 2^61, where it is exact to 512. (NaN fails every comparison, so the bounds come
-- first.)
local LEAST, MOST = 0.001, 1000

function M.for_queue(group)
  local given = redis.call(
    'HMGET',
    keys.tenant(group),
    'weight',
    'max_running',
    'daily_credits',
    'monthly_credits',
    'budget_action'
  )
  local weight = math.min(MOST, math.max(LEAST, tonumber(given[1]) or 1))
  local holds = given[5] == 'hold' and (given[3] or given[4])
  return weight, tonumber(given[2]) or math.huge, holds and tenant_budgets(group, given[3], given[4], 'hold') or nil
end

-- Add the limits of a key to those of its tenant. A key's budget never holds: jobs of all keys of a tenant wait in one
-- queue.
local function add_key_limits(may, key)
  local given = redis.call('HMGET', keys.api_key(key), 'monthly_credits', 'requests_per_minute', 'payer')
  may.first_key = given[3] or may.first_key
  may.payer = payer_of(key, may.first_key)
  if given[1] then
    may.budgets[#may.budgets + 1] =
      { scope = 'key', period = 'month', limit = tonumber(given[1]), payer = may.payer, holds = false }
    may.reserved_for = may.payer
  end
  if given[2] then may.rates[#may.rates + 1] = { scope = 'key', limit = math.floor(given[2]), payer = may.payer } end
end

-- Return the budgets of a key alone.
function M.key_budgets(key)
  local may = { rates = {}, budgets = {} }
  add_key_limits(may, key)
  return may.budgets
end

-- Count the use of a tenant's key as that of the first of the keys that it replaces.
function M.share(tenant, key, first_key)
  redis.call('HSET', keys.api_key(key), 'payer', first_key)
  redis.call('HSET', keys.tenant(tenant), 'limits_keys', 1)
end

-- Set limits of a key: `given` is name, value, name, value, and '' removes a limit.
function M.set_key_limits(tenant, key, given)
  for i = 1, #given, 2 do
    if given[i + 1] == '' then
      redis.call('HDEL', keys.api_key(key), given[i])
    else
      redis.call('HSET', keys.api_key(key), given[i], given[i + 1])
      redis.call('HSET', keys.tenant(tenant), 'limits_keys', 1)
    end
  end
end

-- Return whether a request must be refused because its tenant is being deleted, or was deleted after the request began.
-- A new tenant of the same name accepts the requests of its own keys.
local function is_gone(deleting, deleted, webhook_secret, key)
  if deleting or not deleted then return deleting and true end
  return not webhook_secret or (key and key ~= '' and redis.call('EXISTS', keys.api_key(key)) == 0)
end

-- Return whether a request with this API key ('' or nil: no key) must be refused; see is_gone.
function M.is_gone(tenant, key)
  local given = redis.call('HMGET', keys.tenant(tenant), 'deleting', 'deleted', 'webhook_secret')
  return is_gone(given[1], given[2], given[3], key)
end

-- Return what a tenant's requests with an API key ('' or nil: no key) may do: `rates` (requests per minute), `queued`,
-- `running`, all `budgets`, `payer` (of the key), `first_key` (its id if the key replaced another, else nil),
-- `reserved_for` (the payer if the key has a budget), and `gone` if the tenant is deleted. The key is read only if a key
-- of the tenant has limits or replaced another, or a tenant of that name was deleted. `first_key` is what a job knows of
-- its key, whose record may be gone.
function M.load(tenant, key, first_key)
  local given = redis.call(
    'HMGET',
    keys.tenant(tenant),
    'requests_per_minute',
    'max_queued',
    'daily_credits',
    'monthly_credits',
    'budget_action',
    'max_running',
    'limits_keys',
    'deleting',
    'deleted',
    'webhook_secret'
  )
  local may = {
    rates = {},
    queued = tonumber(given[2]),
    running = tonumber(given[6]) or math.huge,
    budgets = tenant_budgets(tenant, given[3], given[4], given[5]),
    gone = is_gone(given[8], given[9], given[10], key),
  }
  if given[1] then may.rates[1] = { scope = 'tenant', limit = math.floor(given[1]), payer = tenant } end
  if key and key ~= '' then
    may.first_key = first_key
    may.payer = payer_of(key, first_key)
    if given[7] then add_key_limits(may, key) end
  end
  return may
end

return M
