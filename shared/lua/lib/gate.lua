-- The gate of provider calls: whether a new call may be made now, and of which model. What fails with one key or
-- model holds only that key or model; the whole queue waits only while no call can be made. shared/store/keys.py
-- describes the fields of `gate`. `record` is the gate as it was read.
local keys, queue, util = ... -- requires

local M = {}

-- Holds of everything; holds of a key.
local GLOBAL_HOLDS = { 'storage', 'image_host' }

local KEY_HOLDS = { 'provider_rate', 'provider_down' }

-- A key that was not used for this long is in no worker's pool any more.
local KEY_UNUSED_MS = 3600000

-- How long a claim without a usable key counts for others; a waiting thread repeats its claim every quarter second.
local NO_KEY_MS = 5000

-- Return the milliseconds left of a hold; nil if there is none. A hold that ends later than any can last was set
-- before the clock was set back.
function M.held_for(record, name, now)
  local left = (tonumber(record['hold:' .. name]) or 0) - now
  return left > 0 and left <= C.hold_most_ms and left or nil
end

-- Return whether a key is in the pool of a worker; `at` is when it was last registered or used.
function M.is_used(at, now) return now - at < KEY_UNUSED_MS end

-- Return the keys that workers use: `keys` (id -> masked) and `teams` (name -> true).
function M.used_keys(record, now)
  local used = { keys = {}, teams = {} }
  for name, line in pairs(record) do
    local id = string.match(name, '^key:(.*)$')
    local masked, team, at = string.match(line, '^(%S+) (%S*) (%d+)$')
    if id and masked and M.is_used(at, now) and not record['removed:' .. id] then
      used.keys[id], used.teams[team] = masked, true
    end
  end
  return used
end

-- Return why no call may be made with a key, whatever a worker has: 'paused' by an operator, or 'provider_auth' where
-- it was removed or refused; nil if neither.
function M.key_excluded(record, id)
  if record['removed:' .. id] or record['dead:' .. id] then return 'provider_auth' end
  return record['paused:key:' .. id] and 'paused' or nil
end

-- Return what holds a key or its team, and the milliseconds left; nil if nothing does.
function M.key_held(now, record, key)
  local left = M.held_for(record, 'provider_credits:team:' .. key.team, now)
  if left then return 'provider_credits', left end
  for _, reason in ipairs(KEY_HOLDS) do
    left = M.held_for(record, reason .. ':key:' .. key.id, now)
    if left then return reason, left end
  end
end

-- Return what holds all new calls, and the milliseconds left; '' if nothing does.
function M.closed(now, record)
  if record['paused:generate'] then return 'paused', 1000 end
  for _, reason in ipairs(GLOBAL_HOLDS) do
    local left = M.held_for(record, reason, now)
    if left then return reason, left end
  end
  return '', 0
end

-- Return for how many milliseconds what the provider said at `said_at` still counts; nil if it does not.
local function probe_wait(now, said_at)
  local left = said_at and said_at + C.gone_probe_ms - now
  return left and left > 0 and left <= C.gone_probe_ms and left or nil
end

-- Return for how many milliseconds the provider's statement that it does not offer a model still counts; nil if it
-- does not: then one call may try again.
function M.gone_for(now, record, model) return probe_wait(now, record['gone:' .. model]) end

-- Return whether the provider does not offer a model, as far as is known: not while a probe is in progress.
function M.is_removed(now, record, model)
  return M.gone_for(now, record, model) ~= nil and not record['probe:gone:' .. model]
end

-- Return for how many milliseconds the provider's statement that it does not offer a model to a key still counts; nil
-- if it does not.
function M.unoffered_for(now, record, key, model) return probe_wait(now, record['unoffered:' .. key.id .. ':' .. model]) end

-- Return whether the provider may offer a model to a key: it has not said otherwise, or a probe is in progress.
function M.may_offer(now, record, key, model)
  return not M.unoffered_for(now, record, key, model) or record['probe:unoffered:' .. key.id .. ':' .. model] ~= nil
end

-- Return when a rate permits the next call, by the time that is stored. A time further away than the rate allows was
-- written before the clock was set back.
function M.next_call(now, stored, rate)
  local tat = tonumber(stored) or 0
  return tat <= now + (rate.burst + 1) * rate.interval_ms + 1000 and tat or 0
end

-- Return the stored time after one more call.
local function after_call(now, tat, rate)
  -- not in whole milliseconds: the rounding errors would add up
  return string.format('%.3f', math.max(tat, now) + rate.interval_ms)
end

-- Return for how many milliseconds at least the rate of a model delays a call that comes after `before` others.
function M.model_delay(now, record, model, before)
  local rate = C.model_rates[model]
  if not rate then return 0 end
  local tat = math.max(M.next_call(now, record['model_tat:' .. model], rate), now)
  return math.max(math.ceil(tat + (before - rate.burst) * rate.interval_ms - now), 0)
end

-- Return what holds new calls of a model, and the milliseconds left; '' if nothing does.
function M.model_closed(now, record, model)
  if record['paused:model:' .. model] then return 'paused', 1000 end
  local left = M.held_for(record, 'provider_down:model:' .. model, now)
  if left then return 'provider_down', left end
  left = M.gone_for(now, record, model)
  if left then return 'model_unavailable', left end
  left = M.model_delay(now, record, model, 0)
  if left > 0 then return 'model_rate', left end
  return '', 0
end

-- Record that a claim found no usable key: only a claim knows the keys, and the operations that read a job learn it
-- here. A key that is free within the second is not recorded.
function M.record_no_key(now, reason, wait)
  if wait <= 1000 and reason == 'provider_rate' then return end
  redis.call('HSET', keys.gate, 'no_key', reason .. ' ' .. util.int(now + NO_KEY_MS))
end

-- Return why no new call of a model is made, for the operations that read a job; '' if one may be made.
function M.why_closed(now, model, record)
  record = record or util.read_hash(keys.gate) or {}
  local reason = M.closed(now, record)
  if reason == '' and model then reason = M.model_closed(now, record, model) end
  if reason ~= '' then return reason end
  local why, ends = string.match(record.no_key or '', '^(%S+) (%d+)$')
  local left = (tonumber(ends) or 0) - now
  return left > 0 and left <= NO_KEY_MS and why or ''
end

-- Return whether a permit would find a job to claim, as far as is known without the keys: a job is paid or isolated,
-- or a model that may be called has ready jobs.
function M.can_claim(now)
  if redis.call('EXISTS', queue.jobs.paid, queue.jobs.isolated) > 0 then return true end
  local record = util.read_hash(keys.gate) or {}
  for _, model in ipairs(redis.call('SMEMBERS', queue.jobs.lanes)) do
    if M.why_closed(now, model, record) == '' and redis.call('EXISTS', queue.jobs.active .. model) == 1 then
      return true
    end
  end
  return false
end

-- Record a claim in the gate: the next time of the key and of the model, and that this call is the probe of each hold
-- whose time is over, for which other calls wait.
function M.charge(now, record, key, model, pool)
  local writes = {}
  local function write(name, value)
    writes[#writes + 1], writes[#writes + 2] = name, value
  end
  local function probe(name)
    if not record['hold:' .. name] then return end
    write('hold:' .. name, util.int(now + C.probe_ms))
    write('probe:' .. name, '1')
  end
  for _, reason in ipairs(GLOBAL_HOLDS) do
    probe(reason)
  end
  for _, reason in ipairs(KEY_HOLDS) do
    probe(reason .. ':key:' .. key.id)
  end
  probe('provider_credits:team:' .. key.team)
  probe('provider_down:model:' .. model)
  for _, name in ipairs({ 'gone:' .. model, 'unoffered:' .. key.id .. ':' .. model }) do
    if record[name] then
      write(name, util.int(now))
      write('probe:' .. name, '1')
    end
  end
  if record.no_key then redis.call('HDEL', keys.gate, 'no_key') end
  if C.key_rate.interval_ms > 0 or pool > 1 then write('tat:' .. key.id, after_call(now, key.tat, C.key_rate)) end
  local rate, name = C.model_rates[model], 'model_tat:' .. model
  if rate then write(name, after_call(now, M.next_call(now, record[name], rate), rate)) end
  if #writes > 0 then redis.call('HSET', keys.gate, unpack(writes)) end
end

return M
