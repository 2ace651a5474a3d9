-- Tenants: whether there is one, and whether it is being deleted.
local clock, keys, util = ... -- requires

local M = {}

-- Return why nothing may be written for this tenant: 'missing', 'deleting' or nil.
function M.fault(tenant)
  local known = redis.call('HMGET', keys.tenant(tenant), 'deleting', 'webhook_secret')
  if known[1] then return 'deleting' end
  return not known[2] and 'missing' or nil
end

-- Return the id of the erasure that deletes this tenant, or nil.
function M.erasure_of(tenant) return redis.call('HGET', keys.tenant(tenant), 'deleting') or nil end

-- Record that a tenant is deleted: its name is free, and requests that began before are refused for a while.
function M.record_deleted(tenant)
  redis.call('DEL', keys.tenant(tenant))
  redis.call('HSET', keys.tenant(tenant), 'deleted', util.int(clock.now()))
  redis.call('PEXPIRE', keys.tenant(tenant), C.deleted_tenant_ms)
  redis.call('ZREM', keys.tenants, tenant)
end

return M
