#!lua flags=allow-oom
-- Gives a tenant or one of its endpoints a new secret; the one before signs along for a while.
-- KEYS  1 the tenant  2 the endpoint (or the tenant again)
-- ARGV  1 tenant  2 endpoint ('' none)  3 secret ('' the endpoint is to have none of its own)
-- Gives 'ok' | 'missing'
local now = dr.now()

-- Puts a secret ('' for none) in the place of another, which signs along for a while.
local function rotate(key, before, secret)
  local kept = {}
  if before then kept[1] = before .. ' ' .. dr.int(now + C.secret_ms) end
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
  redis.call('HSET', key, 'webhook_old', table.concat(kept, ' '), 'webhook_rotated', dr.int(now))
end

local secret = redis.call('HGET', KEYS[2], 'webhook_secret') or ''
if ARGV[2] == '' then
  if secret ~= ARGV[3] then rotate(KEYS[1], secret ~= '' and secret or nil, ARGV[3]) end
  return 'ok'
end
if redis.call('HGET', KEYS[2], 'tenant') ~= ARGV[1] then return 'missing' end
if secret == ARGV[3] then return 'ok' end
local before = secret ~= '' and secret or redis.call('HGET', KEYS[1], 'webhook_secret') or nil
rotate(KEYS[2], before, ARGV[3])
if ARGV[3] ~= '' then
  redis.call('ZREM', '{dr}:endpoint_expiries', ARGV[2])
elseif (tonumber(redis.call('HGET', KEYS[2], 'kept')) or 0) <= 0 then
  redis.call('ZADD', '{dr}:endpoint_expiries', now + C.endpoint_ms, ARGV[2])
end
return 'ok'
