#!lua
-- Seal a stored provider key with another seal key, unless it was removed or sealed again since it was read.
-- Returns 'ok' | 'changed'
local args, audit, keys = ... -- requires
local before = audit.replay(args)
if before then return before end
local found = redis.call('HGET', keys.provider_keys, args.id)
local record = found and cjson.decode(found)
if not record or record.sealed ~= args.sealed_before then return { 'changed' } end
record.sealed = args.sealed
redis.call('HSET', keys.provider_keys, args.id, cjson.encode(record))
return audit.record(args, 'provider_key.reseal', args.id, cjson.encode({ masked = record.masked }), { 'ok' })
