#!lua
-- Store a provider key, sealed; one that is stored already is sealed again and gets the changes. A key that was removed
-- or refused before is used again.
-- Returns 'ok' created ('1' where it was not stored before)
local args, audit, clock, keys = ... -- requires
local before = audit.replay(args)
if before then return before end
local found = redis.call('HGET', keys.provider_keys, args.id)
local record = found and cjson.decode(found) or { team = args.id, label = '', created_at = math.floor(clock.now()) }
for name, value in pairs(cjson.decode(args.changes)) do
  record[name] = value
end
record.masked, record.sealed = args.masked, args.sealed
redis.call('HSET', keys.provider_keys, args.id, cjson.encode(record))
redis.call('HDEL', keys.gate, 'removed:' .. args.id, 'unreadable:' .. args.id, 'dead:' .. args.id)
local detail = { masked = args.masked, team = record.team, label = record.label }
local action = found and 'provider_key.change' or 'provider_key.add'
return audit.record(args, action, args.id, cjson.encode(detail), { 'ok', found and '' or '1' })
