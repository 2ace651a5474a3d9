-- API keys of tenants and operators.
local budgets, keys, limits, util = ... -- requires

local M = {}

-- Return the state of a key: 'living', 'revoked' or 'expired'.
function M.state(key, now)
  if key.revoked then return 'revoked' end
  return key.expires and tonumber(key.expires) <= now and 'expired' or 'living'
end

-- Return a key without its hash, or nil if there is none: { id, { lines of budgets.describe }, 'state', state,
-- field, value, ... }.
function M.describe(id, now)
  local key = util.read_hash(keys.api_key(id))
  if not key then return nil end
  local own = key.monthly_credits and limits.key_budgets(id) or {}
  local one = { id, budgets.describe_all(own, now), 'state', M.state(key, now) }
  key.hash = nil
  return util.append_fields(one, key)
end

-- Delete all keys of a tenant.
function M.delete_all(tenant)
  for _, id in ipairs(redis.call('ZRANGE', keys.api_keys(tenant), 0, -1)) do
    redis.call('DEL', keys.api_key(id))
  end
  redis.call('DEL', keys.api_keys(tenant))
end

-- Return whether this holder can have keys: an existing tenant, or the operators.
function M.has_keys(holder)
  return holder == C.operators or redis.call('HEXISTS', keys.tenant(holder), 'webhook_secret') == 1
end

return M
