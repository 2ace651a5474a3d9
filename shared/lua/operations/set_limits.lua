#!lua flags=allow-oom
-- Set a tenant's limits, and update its place in the queue at once.
-- Returns 'ok' | 'missing' | 'deleting' (to an operator)
local args, audit, budgets, clock, hosts, keys, limits, permits, queue, tenants = ... -- requires
local asked = args.dedup_token ~= ''
local before = asked and audit.replay(args)
if before then return before end
local fault = asked and tenants.fault(args.tenant)
if fault then return { fault } end
for i = 1, #args.limits, 2 do
  if args.limits[i + 1] == '' then
    redis.call('HDEL', keys.tenant(args.tenant), args.limits[i])
  else
    redis.call('HSET', keys.tenant(args.tenant), args.limits[i], args.limits[i + 1])
  end
end
queue.reset_group(queue.jobs, args.tenant)
hosts.reset_tenant(args.tenant)
budgets.record_thresholds(args.tenant, limits.load(args.tenant, '').budgets, clock.now())
-- a raised cap opens many slots at once; to wait for the next sweep would leave threads idle
while permits.push(queue.jobs) do
end
return asked and audit.record(args, 'tenant.set', args.tenant, args.detail, { 'ok' }) or { 'ok' }
