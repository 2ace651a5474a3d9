-- Events of a tenant, or of the operators, that are about no job and no batch. Only standing endpoints get them. An event
-- is recorded as the subject of its deliveries, and is deleted with them.
local keys, outbox, subscriptions, util = ... -- requires

local M = {}

-- Return the id of an event: `episode` identifies it among those of `name`, which is a type or what it is about.
function M.id_of(tenant, name, episode)
  return 'event_' .. string.sub(redis.sha1hex(tenant .. ' ' .. name .. ' ' .. episode), 1, 24)
end

-- Record an event for the endpoints that are subscribed to it and do not have it yet, if there are any. Events with the
-- same id replace each other by `version`. `data` is the `data` of the webhook; times in it are milliseconds, in members
-- that end in `_at`.
function M.write(tenant, id, kind, version, data, now)
  if #subscriptions.to(tenant, kind) == 0 then return end
  local key = keys.tenant_event(id)
  redis.call('HSET', key, 'tenant', tenant)
  redis.call('ZADD', keys.tenant_events(tenant), now, id)
  redis.call('ZADD', keys.tenant_event_expiries, now + C.tenant_event_ms, id)
  outbox.add({ id = id, tenant = tenant, key = key, version = version, snapshot = cjson.encode(data) }, kind, now)
end

-- Record an event for the endpoints that are subscribed to it, if there are any. The same `episode` again changes
-- nothing; see `id_of` and `write`.
function M.add(tenant, kind, episode, data, now)
  local id = M.id_of(tenant, kind, episode)
  if redis.call('EXISTS', keys.tenant_event(id)) == 0 then M.write(tenant, id, kind, 1, data, now) end
end

local function delete(id, now)
  local key = keys.tenant_event(id)
  local tenant = redis.call('HGET', key, 'tenant')
  outbox.delete_for_subject(id, key, now)
  redis.call('ZREM', keys.tenant_event_expiries, id)
  if tenant then redis.call('ZREM', keys.tenant_events(tenant), id) end
  redis.call('DEL', key)
end

-- Delete the events that are old enough, at most `most`, with their deliveries.
function M.delete_expired(now, most)
  for _, id in ipairs(redis.call('ZRANGE', keys.tenant_event_expiries, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do
    delete(id, now)
  end
end

-- Delete all events of a tenant.
function M.delete_all(tenant, now)
  for _, id in ipairs(redis.call('ZRANGE', keys.tenant_events(tenant), 0, -1)) do
    delete(id, now)
  end
end

-- Add the events of API keys of tenants that end soon, once for each key. `most` bounds the work. A key that was revoked
-- or replaced meanwhile has none, nor has one that was made for no longer than the notice.
function M.add_expiring_keys(now, most)
  local due = now + C.key_notice_ms
  for _, id in ipairs(redis.call('ZRANGE', keys.key_expiries, '-inf', due, 'BYSCORE', 'LIMIT', 0, most)) do
    redis.call('ZREM', keys.key_expiries, id)
    local key = util.read_hash(keys.api_key(id)) or {}
    local ends = tonumber(key.expires)
    if ends and ends > now and not key.revoked and not key.replaced_by and ends - key.created > C.key_notice_ms then
      M.add(key.tenant, 'key.expiring', id, { key_id = id, label = key.label, expires_at = ends }, now)
    end
  end
end

return M
