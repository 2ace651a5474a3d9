#!lua
-- Owes one signed test event, sent once and kept for minutes; it says nothing of its endpoint.
-- KEYS  1 the delivery
-- ARGV  1 id  2 tenant  3 host  4 url  5 type  6 webhook (JSON)  7 data (JSON)
-- Gives 'ok'
if redis.call('EXISTS', KEYS[1]) == 1 then return 'ok' end
local now = dr.now()
redis.call('HSET', KEYS[1], 'subject', '', 'tenant', ARGV[2], 'host', ARGV[3], 'type', ARGV[5],
  'endpoint', dr.endpoint_id(ARGV[2], ARGV[4]), 'state', 'pending', 'attempt', 0, 'fence', 0,
  'created', dr.int(now), 'version', 1, 'test', 1, 'hook', ARGV[6], 'snapshot', ARGV[7])
redis.call('PEXPIRE', KEYS[1], C.test_ms)
-- somebody waits for it: before what waits of this tenant by itself
dr.enqueue_delivery(dr.delivery(ARGV[1]), now - C.endpoint_probe_ms, true)
dr.permit(dr.deliveries)
return 'ok'
