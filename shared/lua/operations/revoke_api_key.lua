#!lua flags=allow-oom
-- Revoke a key at once. Its record stays for a while, so that its holder learns that it was revoked.
-- Returns 'ok' | 'unknown'
local args, audit, clock, keys, util = ... -- requires
local before = audit.replay(args)
if before then return before end
if redis.call('HGET', keys.api_key(args.id), 'tenant') ~= args.tenant then return { 'unknown' } end
if redis.call('HSETNX', keys.api_key(args.id), 'revoked', util.int(clock.now())) == 0 then return { 'ok' } end
redis.call('PEXPIRE', keys.api_key(args.id), args.keep_ms)
return audit.record(args, 'key.revoke', args.tenant, cjson.encode({ key = args.id }), { 'ok' })
