-- Events of a tenant that are about no job and no batch. Only standing endpoints get them. An event is recorded as the
-- subject of its deliveries, and is deleted with them.
local keys, outbox, subscriptions, util = ... -- requires

local M = {}

-- Record an event for the endpoints that are subscribed to it, if there are any. The same `episode` again, a text that
-- identifies it among the events of this type, changes nothing. `data` is the `data` of the webhook; times in it are
-- milliseconds, in members that end in `_at`.
function M.add(tenant, kind, episode, data, now)
  if #subscriptions.to(tenant, kind) == 0 then return end
  local id = 'event_' .. string.sub(redis.sha1hex(tenant .. ' ' .. kind .. ' ' .. episode), 1, 24)
  local key = keys.tenant_event(id)
  if redis.call('HSETNX', key, 'tenant', tenant) == 0 then return end
  redis.call('ZADD', keys.tenant_events(tenant), now, id)
  redis.call('ZADD', keys.tenant_event_expiries, now + C.tenant_event_ms, id)
  outbox.add({ id = id, tenant = tenant, key = key, snapshot = cjson.encode(data) }, kind, now)
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
