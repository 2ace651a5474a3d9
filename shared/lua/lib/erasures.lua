-- Deletions of many jobs, which a worker carries out.
local clock, keys, util = ... -- requires

local M = {}

-- Record an erasure, to begin after `delay` milliseconds; one that is recorded already stays as it is.
function M.create(args, is_tenant, delay)
  local key, now = keys.erasure(args.id), clock.now()
  if redis.call('HSETNX', key, 'created', util.int(now)) == 0 then return end
  redis.call('HSET', key, 'filter', args.filter, 'found', args.found, 'deleted', 0)
  if args.tenant ~= '' then redis.call('HSET', key, 'tenant', args.tenant) end
  if is_tenant then redis.call('HSET', key, 'is_tenant', 1) end
  redis.call('ZADD', keys.erasures, now + delay, args.id)
end

return M
