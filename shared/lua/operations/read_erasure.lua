#!lua flags=no-writes
-- Read one erasure.
-- Returns {} if there is none of this tenant ('' for any), else its record
local args, keys = ... -- requires
local flat = redis.call('HGETALL', keys.erasure(args.id))
if args.tenant ~= '' and redis.call('HGET', keys.erasure(args.id), 'tenant') ~= args.tenant then return {} end
return flat
