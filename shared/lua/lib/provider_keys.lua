-- The provider keys: the choice of one for the next call, and what is kept of each in the gate.
local gate, keys = ... -- requires

local M = {}

-- Return what holds a key, and the milliseconds left; '' if nothing does. `tat` is as key_tat returns it.
local function key_closed(now, record, key, tat)
  local excluded = gate.key_excluded(record, key.id)
  if excluded then return excluded, 1000 end
  local held, left = gate.key_held(now, record, key)
  if held then return held, left end
  local early = tat - C.key_rate.burst * C.key_rate.interval_ms - now
  if early > 0 then return 'provider_rate', math.ceil(early) end
  return '', 0
end

-- Return when the rate permits a key's next call.
local function key_tat(now, record, key) return gate.next_call(now, record['tat:' .. key.id], C.key_rate) end

-- Return the usable key that has rested longest, other than `avoided` if there is another; else nil, why there is
-- none, and for how many milliseconds. `pool` has keys with id and team; `model` (nil: any) is what the key must offer.
-- A paused key is why there is none only where all are: what holds the others is a fault, and a pause is not.
function M.choose(now, record, pool, model, avoided)
  local best, reason, wait, is_paused
  for _, key in ipairs(pool) do
    local tat = key_tat(now, record, key)
    local why, left = key_closed(now, record, key, tat)
    local unoffered = why == '' and model and gate.unoffered_for(now, record, key, model)
    if unoffered then
      why, left = 'model_unavailable', unoffered
    end
    if why == '' then
      local rested = tat + (key.id == avoided and 10 ^ 15 or 0)
      if not best or rested < best.rested then best = { id = key.id, team = key.team, tat = tat, rested = rested } end
    elseif why == 'paused' then
      is_paused = true
    elseif not wait or left < wait then
      reason, wait = why, left
    end
  end
  if best then return best end
  return nil, reason or is_paused and 'paused' or 'provider_auth', wait or 1000
end

-- Return whether operators see a key: it is stored, or workers have registered it.
function M.is_known(record, id) return record['key:' .. id] ~= nil or redis.call('HEXISTS', keys.provider_keys, id) == 1 end

-- Return whether a worker has a key in its environment.
function M.in_environment(now, record, id)
  local at = tonumber(record['environment:' .. id])
  return at ~= nil and now - at < C.environment_key_ms
end

-- Delete what the gate has of a key, except that an operator paused it.
function M.delete_fields(record, id)
  for name in pairs(record) do
    if string.sub(name, -#id - 1) == ':' .. id and name ~= 'paused:key:' .. id then
      redis.call('HDEL', keys.gate, name)
    end
  end
end

return M
