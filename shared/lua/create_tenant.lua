#!lua
-- Makes a tenant.
-- KEYS  1 the tenant  2 the names of all tenants
-- ARGV  1 word  2 by  3 request  4 tenant  5 webhook secret  6 what it may (JSON)
--       7... name, value of each limit
-- Gives 'ok' | 'exists' its webhook secret
local before = dr.replay(ARGV)
if before then return before end
local secret = redis.call('HGET', KEYS[1], 'webhook_secret')
if secret then return { 'exists', secret } end
redis.call('HSET', KEYS[1], 'webhook_secret', ARGV[5], 'created', dr.int(dr.now()))
for i = 7, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', KEYS[2], 0, ARGV[4])
return dr.audit(ARGV, 'tenant.create', ARGV[4], ARGV[6], { 'ok' })
