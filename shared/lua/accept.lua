#!lua
-- Accepts a job: record, place in the queue, idempotency, index, event and permit in one step.
-- KEYS  1 the job   2 its idempotency record (or the job again, where the client sent no key)
-- ARGV  1 id  2 tenant  3 not after (ms)  4 fingerprint ('' none)  5 deadline (ms from now)
--       6 max attempts  7 priority  8 spec (JSON)  9 on_unknown  10 hook host ('' none)
--       11 hook events  12 model  13 credits of one call  14 most before it  15 longest wait (ms; 14
--       and 15: '' any)  16 job whose picture was copied ('' none)  17 the copy (JSON)
--       18 what an identical request is known by  19 traceparent ('' none)  20... tags
-- Gives 'accepted' created rank reason eta (ms, -1 not known) rate... | 'replayed' id | 'gone' id
--       | 'reused' id | 'late' | a refusal of dr.check_admission, rate...
local id, tenant, now = ARGV[1], ARGV[2], dr.now()
local reused = ARGV[16] ~= ''
local ask = {
  tenant = tenant, may = dr.load_limits(tenant), now = now, n = reused and 0 or 1, requests = 1,
  credits = reused and 0 or tonumber(ARGV[13]), free = reused, rank = now + C.priority_offset_ms[ARGV[7]],
  deadline = tonumber(ARGV[5]), model = ARGV[12], max_position = tonumber(ARGV[14]), max_wait = tonumber(ARGV[15]),
}

local function accepted(created, rank, reason, eta)
  local reply = { 'accepted', created, dr.int(math.max(rank, 0)), reason, dr.int(eta) }
  return dr.with_rate(reply, ask)
end

local before = dr.hash(KEYS[1])
if before then return accepted(before.created, dr.position(id, before, now, {})) end
if now > tonumber(ARGV[3]) then return { 'late' } end
if ARGV[4] ~= '' then
  local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'job')
  if known[1] and known[1] ~= ARGV[4] then return { 'reused', known[2] } end
  if known[1] and redis.call('EXISTS', dr.job_key(known[2])) == 0 then return { 'gone', known[2] } end
  if known[1] then return { 'replayed', known[2] } end
end
local fault, position, _, outlook = dr.check_admission(ask)
if fault then return dr.with_rate(fault, ask) end
-- the copy is the job's from now on; where the trash has it already, it came too late
if reused and redis.call('ZREM', '{dr}:object_deletions', cjson.decode(ARGV[17]).key) == 0 then
  return { 'late' }
end
dr.commit_admission(ask)

local function given(text) return text ~= '' and text or nil end
dr.accept({
  id = id, tenant = tenant, deadline = ask.deadline, max_attempts = ARGV[6], priority = ARGV[7],
  spec = ARGV[8], on_unknown = ARGV[9], webhook_host = given(ARGV[10]), webhook_events = given(ARGV[11]),
  model = ARGV[12], credits = ARGV[13], reused_from = given(ARGV[16]), image = given(ARGV[17]),
  known_by = ARGV[18], trace = given(ARGV[19]), tags = { unpack(ARGV, 20) },
}, now)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'fingerprint', ARGV[4], 'job', id)
  redis.call('PEXPIRE', KEYS[2], C.idempotency_ms)
end
if reused then return accepted(dr.int(now), -1, '', -1) end
return accepted(dr.int(now), position, outlook.reason, dr.eta(outlook, position, now, now) or -1)
