-- API keys of tenants and operators.
local keys = ... -- requires

local M = {}

-- Return the state of a key: 'living', 'revoked' or 'expired'.
function M.state(key, now)
  if key.revoked then return 'revoked' end
  return key.expires and tonumber(key.expires) <= now and 'expired' or 'living'
end

-- Return whether this holder can have keys: an existing tenant, or the operators.
function M.has_keys(holder)
  return holder == '@operators' or redis.call('HEXISTS', keys.tenant(holder), 'webhook_secret') == 1
end

return M
