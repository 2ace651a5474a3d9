#!lua flags=allow-oom
-- Record which provider keys a worker uses, so that operators see them; delete those that were not used for a day.
-- Returns the gate as it is then: name, value, ...
local args, clock, keys, util = ... -- requires
local now = clock.now()
for i = 1, #args.keys, 3 do -- id, masked, team
  local line = table.concat({ args.keys[i + 1], args.keys[i + 2], util.int(now) }, ' ')
  redis.call('HSET', keys.gate, 'key:' .. args.keys[i], line)
end
local record = util.read_hash(keys.gate) or {}
for name, value in pairs(record) do
  local id, seen = string.match(name, '^key:(.*)$'), tonumber(string.match(value, ' (%d+)$'))
  if id and now - seen > C.key_kept_ms then
    for other in pairs(record) do
      if string.sub(other, -#id - 1) == ':' .. id then redis.call('HDEL', keys.gate, other) end
    end
  end
end
return redis.call('HGETALL', keys.gate)
