#!lua
-- Stages a chunk of a batch: whole records where nobody looks, and their places in the indexes,
-- which pass over them until the batch is committed.
-- KEYS  1 the batch
-- ARGV  1 batch  2 tenant  3 number of the chunk (from 0)  4 max attempts  5 traceparent ('' none)
--       6... of each job: id
--       spec (JSON)  model  priority  deadline (ms from the commit)  on_unknown
--       hook host ('' none)  hook events  credits of one call  how many tags, and each
-- Gives 'ok' | 'lost' | a refusal of dr.check_admission, rate...
local batch, tenant, chunk, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), dr.now()
local known = redis.call('HMGET', KEYS[1], 'state', 'chunks')
local chunks = tonumber(known[2]) or 0
if chunk > 0 and known[1] ~= 'staged' then return { 'lost' } end -- swept: it took too long
if chunk < chunks then return { 'ok' } end

local stage, gate = dr.stage(KEYS[1]), dr.hash('{dr}:gate') or {}
local ids, zeros, rest, i = {}, {}, {}, 6
while i <= #ARGV do
  local id, priority, deadline = ARGV[i], ARGV[i + 3], tonumber(ARGV[i + 4])
  rest[#rest + 1] = i
  ids[#ids + 1] = id
  zeros[#zeros + 1], zeros[#zeros + 2] = 0, id
  stage.size, stage.credits = stage.size + 1, stage.credits + ARGV[i + 8]
  if deadline < stage.deadline then
    stage.deadline, stage.priority, stage.model = deadline, priority, ARGV[i + 2]
  end
  local fault = dr.model_fault({ model = ARGV[i + 2], n = 1, now = now }, gate)
  if fault then return dr.with_rate(fault, dr.admission_request(tenant, stage, now)) end
  i = i + 10 + ARGV[i + 9]
end
local ask = dr.admission_request(tenant, stage, now)
local fault = dr.check_admission(ask)
if fault then return dr.with_rate(fault, ask) end

local created = dr.int(now)
for n, id in ipairs(ids) do
  local at = rest[n]
  local fields = dr.omit_defaults({ 'priority', ARGV[at + 3], 'on_unknown', ARGV[at + 5] })
  if ARGV[at + 6] ~= '' then
    for _, value in ipairs({ 'webhook_host', ARGV[at + 6], 'webhook_events', ARGV[at + 7] }) do
      fields[#fields + 1] = value
    end
  end
  if ARGV[5] ~= '' then fields[#fields + 1], fields[#fields + 2] = 'trace', ARGV[5] end
  if tonumber(ARGV[at + 8]) > 0 then
    for _, value in ipairs({ 'credits', ARGV[at + 8], 'reserved_credits', ARGV[at + 8] }) do
      fields[#fields + 1] = value
    end
  end
  redis.call('HSET', dr.staged_key(id), 'tenant', tenant, 'created', created, 'max_attempts', ARGV[4],
    'spec', ARGV[at + 1], 'model', ARGV[at + 2], 'deadline', ARGV[at + 4], 'batch', batch,
    'state', 'queued', 'version', 1, 'attempt', 0, 'hist', '1 0 queued 0', unpack(fields))
  for tag = at + 10, at + 9 + ARGV[at + 9] do
    redis.call('ZADD', dr.index_key(tenant, 'tag', ARGV[tag]), 0, id)
  end
end
for _, index in ipairs({ dr.index_key(tenant), dr.index_key(tenant, 'status', 'queued'),
  dr.index_key('', 'status', 'queued'), dr.index_key(tenant, 'batch', batch) }) do
  redis.call('ZADD', index, unpack(zeros))
end
redis.call('HSET', KEYS[1], 'tenant', tenant, 'state', 'staged', 'chunks', chunk + 1,
  'size', stage.size, 'credits', stage.credits, 'deadline', dr.int(stage.deadline),
  'priority', stage.priority, 'model', stage.model)
redis.call('HINCRBY', '{dr}:staged_counts', tenant, #ids)
redis.call('ZADD', '{dr}:batch_work', now + C.stage_ms, batch)
return { 'ok' }
