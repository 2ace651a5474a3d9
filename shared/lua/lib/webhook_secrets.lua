-- Signing secrets: an endpoint's own, else its tenant's. Replaced ones keep signing for a while.
local keys, util = ... -- requires

local M = {}

-- Return the secrets of one record: the present one (or nil), and the earlier ones that still sign.
local function secrets_of(key, now)
  local known = redis.call('HMGET', key, 'webhook_secret', 'webhook_old')
  local old = {}
  for secret, ends in string.gmatch(known[2] or '', '(%S+) (%d+)') do
    if tonumber(ends) > now then old[#old + 1] = secret end
  end
  return known[1], old
end

-- Return all secrets that sign for an endpoint, the present one first, separated by spaces.
function M.signing(tenant, endpoint, now)
  local found, seen = {}, {}
  local function add(secret)
    if secret and not seen[secret] then
      found[#found + 1], seen[secret] = secret, true
    end
  end
  local own, own_old = secrets_of(keys.endpoint(endpoint), now)
  local secret, old = secrets_of(keys.tenant(tenant), now)
  add(own or secret)
  if not own then
    for _, one in ipairs(old) do
      add(one)
    end
  end
  for _, one in ipairs(own_old) do
    add(one)
  end
  return table.concat(found, ' ')
end

-- Replace a secret by another ('' for none); the old one keeps signing for a while.
local function rotate(key, before, secret, now)
  local kept = {}
  if before then kept[1] = before .. ' ' .. util.int(now + C.secret_ms) end
  local old = redis.call('HGET', key, 'webhook_old') or ''
  for one, ends in string.gmatch(old, '(%S+) (%d+)') do
    if #kept < C.secrets_kept and tonumber(ends) > now and one ~= before and one ~= secret then
      kept[#kept + 1] = one .. ' ' .. ends
    end
  end
  if secret == '' then
    redis.call('HDEL', key, 'webhook_secret')
  else
    redis.call('HSET', key, 'webhook_secret', secret)
  end
  redis.call('HSET', key, 'webhook_old', table.concat(kept, ' '), 'webhook_rotated', util.int(now))
end

-- Set a tenant's secret; the same secret again changes nothing.
function M.rotate_tenant(key, secret, now)
  local before = redis.call('HGET', key, 'webhook_secret')
  if before ~= secret then rotate(key, before or nil, secret, now) end
end

-- Set an endpoint's own secret, '' for none; the same secret again changes nothing.
function M.rotate_endpoint(tenant_key, endpoint, secret, now)
  local key = keys.endpoint(endpoint)
  local own = redis.call('HGET', key, 'webhook_secret') or ''
  if own == secret then return end
  local before = own ~= '' and own or redis.call('HGET', tenant_key, 'webhook_secret') or nil
  rotate(key, before, secret, now)
  if secret ~= '' then
    redis.call('ZREM', keys.endpoint_expiries, endpoint)
  elseif (tonumber(redis.call('HGET', key, 'kept')) or 0) <= 0 then
    redis.call('ZADD', keys.endpoint_expiries, now + C.endpoint_ms, endpoint)
  end
end

return M
