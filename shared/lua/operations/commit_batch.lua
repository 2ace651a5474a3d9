#!lua
-- Commit a staged batch: one write makes all of its jobs real, however many there are.
-- Returns 'committed' now rate... | 'replayed' id | 'gone' id | 'reused' id | 'late' | 'lost'
--       | a refusal of admission.check, rate...
local args, admission, batches, clock, jobs, keys, util = ... -- requires
local batch, tenant, size, now = args.id, args.tenant, tonumber(args.size), clock.now()
local stage = batches.read_stage(keys.batch(args.id))
local ask = batches.admission_request(tenant, stage, now)
local known = redis.call('HMGET', keys.batch(args.id), 'committed', 'state')
if known[1] then return admission.with_rate({ 'committed', known[1] }, ask) end
if now > tonumber(args.not_after_ms) then return { 'late' } end
if args.fingerprint ~= '' then
  local before = redis.call('HMGET', keys.idempotency(args.tenant, args.idempotency_key), 'fingerprint', 'job')
  if before[1] and before[1] ~= args.fingerprint then return { 'reused', before[2] } end
  if before[1] and not jobs.may_exist(keys.batch(before[2])) then return { 'gone', before[2] } end
  if before[1] then return { 'replayed', before[2] } end
end
if known[2] ~= 'staged' or stage.size ~= size then return { 'lost' } end
local fault = admission.check(ask)
if fault then return admission.with_rate(fault, ask) end
admission.commit(ask, stage.reserved_for)

redis.call('HDEL', keys.batch(args.id), 'chunks', 'credits', 'deadline', 'priority', 'model', 'api_key', 'reserved_for')
redis.call(
  'HSET',
  keys.batch(args.id),
  'state',
  'committed',
  'committed',
  util.int(now),
  'queued',
  size,
  'running',
  0,
  unpack(args.fields)
)
redis.call('HINCRBY', keys.staged_counts, tenant, -size)
redis.call('HINCRBY', keys.counts, 'queued', size)
redis.call('HINCRBY', keys.totals, 'accepted', size)
redis.call('ZADD', keys.batches(tenant), 0, batch)
redis.call('ZADD', keys.batch_work, now + C.batch_work_delay_ms, batch)
if args.fingerprint ~= '' then
  redis.call('HSET', keys.idempotency(args.tenant, args.idempotency_key), 'fingerprint', args.fingerprint, 'job', batch)
  redis.call('PEXPIRE', keys.idempotency(args.tenant, args.idempotency_key), C.idempotency_ms)
end
return admission.with_rate({ 'committed', util.int(now) }, ask)
