-- Deletions of many jobs, which a worker carries out.
local clock, keys, util = ... -- requires

local M = {}

-- Record the end of an erasure.
function M.finish(id)
  local tenant = redis.call('HGET', keys.erasure(id), 'tenant')
  if tenant then redis.call('SREM', keys.tenant_erasures(tenant), id) end
  redis.call('HSET', keys.erasure(id), 'finished', util.int(clock.now()))
  redis.call('ZREM', keys.erasures, id)
  redis.call('PEXPIRE', keys.erasure(id), C.erasure_kept_ms)
end

-- Record an erasure, to begin after `delay` milliseconds; one that is recorded already stays as it is. `new` has id,
-- tenant ('' for all), filter, found, and is_tenant where the tenant itself is deleted. One of no jobs ends at once.
function M.create(new, delay)
  local key, now = keys.erasure(new.id), clock.now()
  if redis.call('HSETNX', key, 'created', util.int(now)) == 0 then return end
  redis.call('HSET', key, 'filter', new.filter, 'found', new.found, 'deleted', 0)
  if new.tenant ~= '' then redis.call('HSET', key, 'tenant', new.tenant) end
  if new.is_tenant then redis.call('HSET', key, 'is_tenant', 1) end
  if not new.is_tenant and tonumber(new.found) == 0 then return M.finish(new.id) end
  redis.call('ZADD', keys.erasures, now + delay, new.id)
end

return M
