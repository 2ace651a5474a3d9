#!lua
-- Commits a staged batch: one write makes all of its jobs real, however many there are.
-- KEYS  1 the batch  2 its idempotency record (or the batch again, where the client sent no key)
-- ARGV  1 batch  2 tenant  3 not after (ms)  4 fingerprint ('' none)  5 jobs  6... name, value of what
--       the batch keeps beside
-- Gives 'committed' now rate... | 'replayed' id | 'gone' id | 'reused' id | 'late' | 'lost'
--       | a refusal of dr.check_admission, rate...
local batch, tenant, size, now = ARGV[1], ARGV[2], tonumber(ARGV[5]), dr.now()
local stage = dr.stage(KEYS[1])
local ask = dr.admission_request(tenant, stage, now)
local known = redis.call('HMGET', KEYS[1], 'committed', 'state')
if known[1] then return dr.with_rate({ 'committed', known[1] }, ask) end
if now > tonumber(ARGV[3]) then return { 'late' } end
if ARGV[4] ~= '' then
  local before = redis.call('HMGET', KEYS[2], 'fingerprint', 'job')
  if before[1] and before[1] ~= ARGV[4] then return { 'reused', before[2] } end
  if before[1] and redis.call('EXISTS', dr.batch_key(before[2])) == 0 then return { 'gone', before[2] } end
  if before[1] then return { 'replayed', before[2] } end
end
if known[2] ~= 'staged' or stage.size ~= size then return { 'lost' } end
local fault = dr.check_admission(ask)
if fault then return dr.with_rate(fault, ask) end
dr.commit_admission(ask)

local fields = {}
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HDEL', KEYS[1], 'chunks', 'credits', 'deadline', 'priority', 'model')
redis.call('HSET', KEYS[1], 'state', 'committed', 'committed', dr.int(now), 'queued', size, 'running', 0,
  unpack(fields))
redis.call('HINCRBY', '{dr}:staged_counts', tenant, -size)
redis.call('HINCRBY', '{dr}:counts', 'queued', size)
redis.call('HINCRBY', '{dr}:totals', 'accepted', size)
redis.call('ZADD', '{dr}:batches:' .. tenant, 0, batch)
redis.call('ZADD', '{dr}:batch_work', now + C.tend_ms, batch)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'fingerprint', ARGV[4], 'job', batch)
  redis.call('PEXPIRE', KEYS[2], C.idempotency_ms)
end
return dr.with_rate({ 'committed', dr.int(now) }, ask)
