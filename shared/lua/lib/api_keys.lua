-- API keys of tenants and operators.
local keys = ... -- requires

local M = {}

-- Whether a key opens anything: 'living', 'revoked' or 'expired'.
function M.state(key, now)
  if key.revoked then return 'revoked' end
  return key.expires and tonumber(key.expires) <= now and 'expired' or 'living'
end

-- Whether keys may belong to this holder: a tenant that there is, or the operators.
function M.has_keys(holder)
  return holder == '@operators' or redis.call('HEXISTS', keys.tenant(holder), 'webhook_secret') == 1
end

return M
