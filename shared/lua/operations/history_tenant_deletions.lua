#!lua flags=allow-oom
-- Record which deleted tenants were erased in the history, and return the next ones to erase there.
-- Returns { tenant, when it was deleted (ms), ... }
local args, keys = ... -- requires
for _, tenant in ipairs(args.erased) do
  redis.call('ZREM', keys.history_tenant_deletions, tenant)
end
if tonumber(args.limit) == 0 then return {} end
return redis.call('ZRANGE', keys.history_tenant_deletions, 0, args.limit - 1, 'WITHSCORES')
