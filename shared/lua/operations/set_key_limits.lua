#!lua flags=allow-oom
-- Set the limits of an API key of a tenant: they apply at once.
-- Returns 'ok' { as api_keys.describe } | 'unknown'
local args, api_keys, audit, budgets, clock, keys, limits = ... -- requires
local before = audit.replay(args)
if before then return before end
if redis.call('HGET', keys.api_key(args.id), 'tenant') ~= args.tenant then return { 'unknown' } end
limits.set_key_limits(args.tenant, args.id, args.limits)
local now = clock.now()
budgets.record_thresholds(args.tenant, limits.key_budgets(args.id), now)
return audit.record(args, 'key.set', args.tenant, args.detail, { 'ok', api_keys.describe(args.id, now) })
