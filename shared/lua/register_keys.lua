#!lua flags=allow-oom
-- Notes which provider keys a worker uses, so that operators see them; forgets those that none has used for a day.
-- KEYS  1 the gate
-- ARGV  1... of each key: id, masked, team
-- Gives the gate as it is then: name, value, ...
local now = dr.now()
for i = 1, #ARGV, 3 do
  redis.call('HSET', KEYS[1], 'key:' .. ARGV[i], table.concat({ ARGV[i + 1], ARGV[i + 2], dr.int(now) }, ' '))
end
local gate = dr.hash(KEYS[1]) or {}
for name, value in pairs(gate) do
  local id, seen = string.match(name, '^key:(.*)$'), tonumber(string.match(value, ' (%d+)$'))
  if id and now - seen > C.key_kept_ms then
    for other in pairs(gate) do
      if string.sub(other, -#id - 1) == ':' .. id then redis.call('HDEL', KEYS[1], other) end
    end
  end
end
return redis.call('HGETALL', KEYS[1])
