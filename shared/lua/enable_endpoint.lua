#!lua flags=allow-oom
-- Switches an endpoint on, or lets a failing one be asked at once; it gets what it missed.
-- KEYS  1 the endpoint
-- ARGV  1 id  2 tenant
-- Gives 'ok' | 'missing'
if redis.call('HGET', KEYS[1], 'tenant') ~= ARGV[2] then return 'missing' end
dr.enable_endpoint(ARGV[1], dr.now())
return 'ok'
