#!lua flags=allow-oom
-- Delete what is left of a tenant in keys that it shares with others, after its jobs are gone. Its name stays taken until
-- `report_erasure` records the end. One call deletes at most `limit` endpoints and as many test events.
-- Returns 'ok' | 'more' (the call is to be repeated) | 'busy' (it has jobs)
local args, api_keys, clock, endpoints, hosts, keys, queue, tenant_events, tenants = ... -- requires
local tenant, limit = args.tenant, tonumber(args.limit)
if redis.call('EXISTS', keys.tenant_jobs(tenant)) == 1 then return 'busy' end
tenant_events.delete_all(tenant, clock.now())
local found = redis.call('ZRANGE', keys.endpoints(tenant), 0, limit - 1)
for _, endpoint in ipairs(found) do
  endpoints.delete(endpoint)
end
if #found == limit or not hosts.delete_tests(tenant, limit) then return 'more' end
redis.call('HDEL', keys.reserved_credits, tenant)
redis.call('HDEL', keys.staged_counts, tenant)
redis.call('ZREM', queue.jobs.budget_blocked, tenant)
api_keys.delete_all(tenant)
local erasure = tenants.erasure_of(tenant)
redis.call('DEL', keys.tenant(tenant))
if erasure then redis.call('HSET', keys.tenant(tenant), 'deleting', erasure) end
queue.reset_group(queue.jobs, tenant)
return 'ok'
