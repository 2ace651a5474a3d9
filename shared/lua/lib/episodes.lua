-- Conditions of the service that operators' endpoints are notified of: one event when a condition begins, one when it
-- ends. The time between is an episode. The sweep compares the episodes with the state of the service, and writes each
-- event with its deliveries in the same step. Episodes are recorded only while operators have a standing endpoint.
local gate, keys, queue, stats, subscriptions, tenant_events, util = ... -- requires

local M = {}

-- A disabled endpoint is watched unless there are so many episodes: each costs a read in every check.
local EPISODES_WATCHED = 200
-- Events that one check writes, at most: each costs up to ten deliveries.
local EVENTS_AT_ONCE = 20
local CHECK_MS = 1000

-- Absent members would be missing in the webhook.
local function optional(value) return value or cjson.null end

local function held(found, subject, data)
  for _, name in ipairs({ 'model', 'key', 'key_id', 'team', 'credits_needed', 'credits_left', 'image_host' }) do
    data[name] = optional(data[name])
  end
  found['provider.held ' .. subject] = data
end

-- A hold is over when a call has succeeded, which removes it, or what it is about is not used any more. Only a rate
-- limit is over with its time.
local HOLDS = {
  storage = function(found) found['storage.unavailable storage'] = {} end,
  image_host = function(found, _, record)
    held(found, 'image_host', { reason = 'image_host', image_host = record.image_host })
  end,
  provider_down = function(found, subject, _, used)
    local kind, name = string.match(subject, '^(%a+):(.*)$')
    if kind == 'model' then
      held(found, 'provider_down:' .. subject, { reason = 'provider_down', model = name })
    elseif used.keys[name] then
      held(found, 'provider_down:' .. subject, { reason = 'provider_down', key = used.keys[name], key_id = name })
    end
  end,
  provider_rate = function(found, subject, record, used, now)
    local id = string.match(subject, '^key:(.*)$')
    local key = used.keys[id]
    if not key or not gate.held_for(record, 'provider_rate:' .. subject, now) then return end
    held(found, 'provider_rate:' .. subject, { reason = 'provider_rate', key = key, key_id = id })
  end,
  provider_credits = function(found, subject, record, used)
    local team = string.match(subject, '^team:(.*)$')
    if not used.teams[team] then return end
    local needed, left = string.match(record['credits:' .. team] or '', '^(%S+) (%S+)$')
    local credits = { credits_needed = tonumber(needed), credits_left = tonumber(left) }
    held(found, 'provider_credits:' .. subject, util.merge({ reason = 'provider_credits', team = team }, credits))
  end,
}

local function find_provider(found, now)
  local record = util.read_hash(keys.gate) or {}
  local used = gate.used_keys(record, now)
  for name in pairs(record) do
    local reason, subject = string.match(name, '^hold:([^:]+):?(.*)$')
    if HOLDS[reason] then HOLDS[reason](found, subject, record, used, now) end
  end
  local all_dead = next(used.keys) ~= nil
  for id, masked in pairs(used.keys) do
    if record['dead:' .. id] then
      found['provider.key_failed ' .. id] = { key = masked, key_id = id }
    else
      all_dead = false
    end
  end
  if all_dead then held(found, 'provider_auth', { reason = 'provider_auth' }) end
  return record
end

local function find_queue(found, record, now)
  local oldest = tonumber(stats.oldest(queue.jobs, now))
  if not oldest or oldest <= C.queue_delayed_ms then return end
  local blocked = gate.why_closed(now, nil, record)
  found['queue.delayed generate'] = {
    queue = 'generate',
    oldest_age_seconds = math.floor(oldest / 1000),
    blocked_by = optional(blocked ~= '' and blocked),
  }
end

-- A model is removed while the provider refuses its calls, or lists it as anything but active.
local function find_models(found, record)
  local is_read = redis.call('HEXISTS', keys.provider_models, 'checked') == 1
  for _, model in ipairs(C.models) do
    local listed = is_read and redis.call('HGET', keys.provider_models, 'model:' .. model)
    local status = listed and string.match(listed, '^(.*) %S*$')
    if record['gone:' .. model] then
      found['model.removed ' .. model] = { model = model, reason = 'refused' }
    elseif is_read and status ~= C.model_active then
      found['model.removed ' .. model] = { model = model, reason = status or C.model_not_listed }
    end
  end
end

-- Return the conditions that hold now: `type subject`, and the data of their events.
local function conditions(episodes, now)
  local found = {}
  local record = find_provider(found, now)
  find_queue(found, record, now)
  find_models(found, record)
  for name, episode in pairs(episodes) do
    local endpoint = string.match(name, '^endpoint%.disabled (.*)$')
    if endpoint and redis.call('HGET', keys.endpoint(endpoint), 'off') == episode.off then
      found[name] = episode.data
    end
  end
  return found
end

local function kind_of(name) return string.match(name, '^%S+') end

local function read_episodes()
  local found = {}
  for name, written in pairs(util.read_hash(keys.episodes) or {}) do
    found[name] = cjson.decode(written)
  end
  return found
end

local function write_episode(name, episode) redis.call('HSET', keys.episodes, name, cjson.encode(episode)) end

-- Write the event that begins an episode, or that ends it (`ended` is when), for the endpoints that are subscribed to it
-- and do not have it yet.
local function announce(name, episode, now, ended)
  local kind = ended and C.event_ends[kind_of(name)] or kind_of(name)
  local times = { began_at = episode.began, ended_at = optional(ended) }
  times.duration_seconds = ended and math.floor((ended - episode.began) / 1000) or cjson.null
  local id = tenant_events.id_of(C.operators, name, util.int(episode.began))
  tenant_events.write(C.operators, id, kind, ended and 2 or 1, util.merge(times, episode.data), now)
end

-- A condition holds. Its episode opens when it has held for long enough; a gap shorter than that is none. Return whether
-- an event was written. `known` is the episode, nil for a new one.
local function continue(name, known, data, now)
  local episode = known or { began = now }
  local is_new = not known or episode.cleared or episode.began > now -- the clock may have been set back
  episode.began, episode.cleared = math.min(episode.began, now), nil
  local opens = not episode.opened and now - episode.began >= C.notify_after_ms
  if opens then
    episode.opened, episode.data = true, data
    announce(name, episode, now)
  end
  if opens or is_new then write_episode(name, episode) end
  return opens
end

-- A condition does not hold. Its episode ends when this has lasted for long enough; its end is when this began.
-- Return whether an event was written.
local function clear(name, episode, now)
  local since = math.min(episode.cleared or now, now)
  if now - since < C.notify_after_ms then
    if episode.cleared ~= since then
      episode.cleared = since
      write_episode(name, episode)
    end
    return false
  end
  if episode.opened then announce(name, episode, now, math.max(since, episode.began)) end
  redis.call('HDEL', keys.episodes, name)
  return episode.opened
end

-- Begin and end episodes, at most once a second. What is too much for one check waits for the next.
function M.tick(now)
  if not subscriptions.any(C.operators) then return end
  local last = tonumber(redis.call('HGET', keys.sweep, 'conditions')) or 0
  if last <= now and now - last < CHECK_MS then return end
  redis.call('HSET', keys.sweep, 'conditions', util.int(now))
  local episodes = read_episodes()
  local found = conditions(episodes, now)
  local left = EVENTS_AT_ONCE
  for name, data in pairs(found) do
    if left > 0 and continue(name, episodes[name], data, now) then left = left - 1 end
  end
  for name, episode in pairs(episodes) do
    if left > 0 and not found[name] and clear(name, episode, now) then left = left - 1 end
  end
end

-- Watch an endpoint that was disabled. The URL of an operators' endpoint may be a secret.
function M.watch_endpoint(endpoint, known, why, now)
  if not subscriptions.any(C.operators) then return end
  local name = 'endpoint.disabled ' .. endpoint
  local known_episode = redis.call('HGET', keys.episodes, name)
  if known_episode then
    local episode = cjson.decode(known_episode)
    episode.off = util.int(now)
    return write_episode(name, episode)
  end
  if redis.call('HLEN', keys.episodes) >= EPISODES_WATCHED then return end
  local is_tenants = known.tenant ~= C.operators
  local data = {
    endpoint_id = endpoint,
    tenant = optional(is_tenants and known.tenant),
    url = optional(is_tenants and known.url),
    reason = why,
  }
  write_episode(name, { began = now, off = util.int(now), data = data })
end

-- Send the beginnings of open episodes to the endpoints that were subscribed since.
function M.announce_open(now)
  for name, episode in pairs(read_episodes()) do
    if episode.opened then announce(name, episode, now) end
  end
end

-- Delete all episodes if no endpoint is left that could get their ends.
function M.drop_unwatched()
  if not subscriptions.any(C.operators) then redis.call('DEL', keys.episodes) end
end

return M
