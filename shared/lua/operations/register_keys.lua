#!lua flags=allow-oom
-- Record which provider keys a worker uses or cannot open, so that operators see them; delete what is kept of those
-- that were not used for a day. A worker that has a removed key in its environment brings it back.
-- Returns the gate as it is then: name, value, ...
local args, clock, keys, provider_keys, util = ... -- requires
local now, record = clock.now(), util.read_hash(keys.gate) or {}
for i = 1, #args.keys, 4 do -- id, source, masked, team
  local id, source = args.keys[i], args.keys[i + 1]
  local line = table.concat({ args.keys[i + 2], args.keys[i + 3], util.int(now) }, ' ')
  if source == 'environment' then
    redis.call('HSET', keys.gate, 'key:' .. id, line, 'environment:' .. id, util.int(now))
    redis.call('HDEL', keys.gate, 'removed:' .. id)
  elseif source == 'unreadable' then
    if redis.call('HEXISTS', keys.provider_keys, id) == 1 then
      redis.call('HSET', keys.gate, 'unreadable:' .. id, util.int(now))
    end
  elseif not record['removed:' .. id] then
    redis.call('HSET', keys.gate, 'key:' .. id, line)
  end
end
record = util.read_hash(keys.gate) or {}
for name, value in pairs(record) do
  local kind, id = string.match(name, '^(%l+):([^:]+)$')
  local is_record = kind == 'key' or kind == 'removed' or kind == 'unreadable'
  if is_record and now - tonumber(string.match(value, '(%d+)$')) > C.key_kept_ms then
    redis.call('HDEL', keys.gate, name)
    if kind ~= 'unreadable' then provider_keys.delete_fields(record, id) end
  end
end
return redis.call('HGETALL', keys.gate)
