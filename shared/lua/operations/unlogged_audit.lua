#!lua
-- Read the oldest audit entries that are not logged yet, for one worker process at a time: others read none for
-- `turn_ms`, or until this one has reported. Entries from before the first call are not logged.
-- Returns { { id, { field, value, ... } }, ... }
local args, clock, keys, util = ... -- requires
local now = clock.now()
local due, logged = unpack(redis.call('HMGET', keys.audit_log, 'due', 'logged'))
if now < (tonumber(due) or 0) and now >= tonumber(due) - args.turn_ms then return {} end
if not logged then
  local last = redis.call('XREVRANGE', keys.audit, '+', '-', 'COUNT', 1)[1]
  logged = last and last[1] or '0-0'
  redis.call('HSET', keys.audit_log, 'logged', logged)
end
local found = redis.call('XRANGE', keys.audit, '(' .. logged, '+', 'COUNT', args.limit)
if #found > 0 then redis.call('HSET', keys.audit_log, 'due', util.int(now + args.turn_ms)) end
return found
