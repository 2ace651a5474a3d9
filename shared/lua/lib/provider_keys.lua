-- The choice of the provider key for the next call.
local gate = ... -- requires

local M = {}

-- Return what holds a key, and the milliseconds left; '' if nothing does. `tat` is as key_tat returns it.
local function key_closed(now, record, key, tat)
  if record['dead:' .. key.id] then return 'provider_auth', 1000 end
  local left = gate.held_for(record, 'provider_credits:team:' .. key.team, now)
  if left then return 'provider_credits', left end
  for _, reason in ipairs(gate.KEY_HOLDS) do
    left = gate.held_for(record, reason .. ':key:' .. key.id, now)
    if left then return reason, left end
  end
  local early = tat - C.key_rate.burst * C.key_rate.interval_ms - now
  if early > 0 then return 'provider_rate', math.ceil(early) end
  return '', 0
end

-- Return when the rate permits a key's next call.
local function key_tat(now, record, key) return gate.next_call(now, record['tat:' .. key.id], C.key_rate) end

-- Return the usable key that has rested longest, other than `avoided` if there is another; else nil, why there is
-- none, and for how many milliseconds. `keys` have id and team; `model` (nil: any) is what the key must offer.
function M.choose(now, record, keys, model, avoided)
  local best, reason, wait
  for _, key in ipairs(keys) do
    local tat = key_tat(now, record, key)
    local why, left = key_closed(now, record, key, tat)
    local unoffered = why == '' and model and gate.unoffered_for(now, record, key, model)
    if unoffered then
      why, left = 'model_unavailable', unoffered
    end
    if why == '' then
      local rested = tat + (key.id == avoided and 10 ^ 15 or 0)
      if not best or rested < best.rested then best = { id = key.id, team = key.team, tat = tat, rested = rested } end
    elseif not wait or left < wait then
      reason, wait = why, left
    end
  end
  if best then return best end
  return nil, reason or 'provider_auth', wait or 1000
end

return M
