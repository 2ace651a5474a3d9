#!lua flags=allow-oom
-- Remove a stored provider key: from now on no claim takes it, whatever a worker still has.
-- Returns 'ok' | 'unknown' | 'environment': a worker has it in its environment, and would use it again
local args, audit, clock, keys, provider_keys, util = ... -- requires
local before = audit.replay(args)
if before then return before end
local now, record = clock.now(), util.read_hash(keys.gate) or {}
if not provider_keys.is_known(record, args.id) then return { 'unknown' } end
local is_stored = redis.call('HEXISTS', keys.provider_keys, args.id) == 1
if not is_stored or provider_keys.in_environment(now, record, args.id) then return { 'environment' } end
local masked = cjson.decode(redis.call('HGET', keys.provider_keys, args.id)).masked
redis.call('HDEL', keys.provider_keys, args.id)
provider_keys.delete_fields(record, args.id)
redis.call('HDEL', keys.gate, 'paused:key:' .. args.id)
redis.call('HSET', keys.gate, 'removed:' .. args.id, util.int(now))
return audit.record(args, 'provider_key.remove', args.id, cjson.encode({ masked = masked }), { 'ok' })
