#!lua flags=allow-oom
-- Gives a tenant or one of its endpoints a new secret; the one before signs along for a while.
-- KEYS  1 the tenant  2 the endpoint (or the tenant again)
-- ARGV  1 tenant  2 endpoint ('' none)  3 secret ('' the endpoint is to have none of its own)
-- Gives 'ok' | 'missing'
local now = dr.now()
if ARGV[2] == '' then
  dr.rotate_tenant_secret(KEYS[1], ARGV[3], now)
elseif redis.call('HGET', KEYS[2], 'tenant') ~= ARGV[1] then
  return 'missing'
else
  dr.rotate_endpoint_secret(KEYS[1], ARGV[2], ARGV[3], now)
end
return 'ok'
