#!lua
-- Create one signed test delivery, sent once and kept for minutes; it does not affect its endpoint's health.
-- Returns 'ok' | 'gone' (the tenant is deleted)
local args, clock, endpoints, hosts, keys, limits, outbox, permits, queue, util = ... -- requires
if redis.call('EXISTS', keys.delivery(args.id)) == 1 then return 'ok' end
if limits.is_gone(args.tenant, args.api_key) then return 'gone' end
local now = clock.now()
redis.call(
  'HSET',
  keys.delivery(args.id),
  'subject',
  '',
  'tenant',
  args.tenant,
  'host',
  args.host,
  'type',
  args.type,
  'endpoint',
  endpoints.id_of(args.tenant, args.url),
  'state',
  'pending',
  'attempt',
  0,
  'fence',
  0,
  'created',
  util.int(now),
  'version',
  1,
  'test',
  1,
  'webhook',
  args.webhook,
  'snapshot',
  args.data
)
redis.call('PEXPIRE', keys.delivery(args.id), C.test_ms)
-- a person waits for it: it goes before the tenant's other deliveries
hosts.enqueue(outbox.load(args.id), now - C.endpoint_probe_ms, true)
permits.push(queue.deliveries)
return 'ok'
