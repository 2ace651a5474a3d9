#!lua
-- Accepts the jobs of one request, all or none; or finds those that an earlier try of it made.
-- KEYS  1 the tries of this body that have no answer yet
--       2 the idempotency record (or the first job, where the client sent no key)   3... the jobs
-- ARGV  1 tenant  2 not after (ms)  3 fingerprint ('' none)  4 '1' for a retry  5 keep tries (ms)
--       6 deadline (ms from now)  7 max attempts  8 priority  9 on_unknown  10 model
--       11 credits of one call  12 traceparent ('' none)  13... id, spec of each job
-- Gives 'accepted' created rate... | 'joined' id... | 'gone' id | 'reused' id | 'late'
--       | a refusal of dr.check_admission, rate...
local tries, tenant, now = KEYS[1], ARGV[1], dr.now()
local id, count = ARGV[13], (#ARGV - 12) / 2
local nonce = '{dr}:claim:' .. id -- a retry that is sent twice joins the same jobs
local refused = tries .. ':refused'
local ask = {
  tenant = tenant, may = dr.load_limits(tenant), now = now, n = count, requests = 1,
  credits = count * ARGV[11], rank = now + C.priority_offset_ms[ARGV[8]],
  deadline = tonumber(ARGV[6]), model = ARGV[10],
}

-- Gives the jobs of an earlier try; one that is forgotten makes them `gone`.
local function join(ids)
  local reply = { 'joined' }
  for one in string.gmatch(ids, '%S+') do
    if redis.call('EXISTS', dr.job_key(one)) == 0 then return { 'gone', one } end
    reply[#reply + 1] = one
  end
  redis.call('SET', nonce, ids, 'PX', 60000)
  return reply
end

-- Notes that somebody waits for these jobs now: of several tries the one left longest is joined.
local function hold(ids)
  redis.call('ZADD', tries, now, ids)
  redis.call('PEXPIRE', tries, ARGV[5])
end

if redis.call('EXISTS', KEYS[3]) == 1 then
  return dr.with_rate({ 'accepted', redis.call('HGET', KEYS[3], 'created') }, ask)
end
local before = redis.call('GET', nonce)
if before then return join(before) end

-- Joins the try that was left longest ago. One that somebody still waits for, as far as is known, is
-- joined too (its process may be dead), but not by a retry of what was refused.
local function join_a_try()
  local first = redis.call('ZRANGE', tries, 0, 0, 'WITHSCORES')
  while first[1] do
    if first[2] ~= '0' and (tonumber(redis.call('GET', refused)) or 0) > 0 then
      redis.call('DECR', refused)
      return nil
    end
    local reply = join(first[1])
    if reply[1] == 'joined' then
      hold(first[1])
      return reply
    end
    redis.call('ZREM', tries, first[1])
    first = redis.call('ZRANGE', tries, 0, 0, 'WITHSCORES')
  end
end

-- A retry of what is refused finds nothing of its own to join.
local function refuse(reply)
  redis.call('INCR', refused)
  redis.call('PEXPIRE', refused, ARGV[5])
  return reply
end

if now > tonumber(ARGV[2]) then return refuse({ 'late' }) end
if ARGV[3] ~= '' then
  local known = redis.call('HMGET', KEYS[2], 'fingerprint', 'job', 'jobs')
  if known[1] and known[1] ~= ARGV[3] then return { 'reused', known[2] } end
  if known[1] then return join(known[3]) end
elseif ARGV[4] == '1' then
  local joined = join_a_try()
  if joined then return joined end
end

local fault = dr.check_admission(ask)
if fault then return refuse(dr.with_rate(fault, ask)) end
dr.commit_admission(ask)
local ids = {}
for i = 13, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
  dr.accept({
    id = ARGV[i], tenant = tenant, deadline = ask.deadline, max_attempts = ARGV[7],
    priority = ARGV[8], on_unknown = ARGV[9], model = ARGV[10], credits = ARGV[11],
    spec = ARGV[i + 1], trace = ARGV[12] ~= '' and ARGV[12] or nil,
  }, now)
end
local all = table.concat(ids, ' ')
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], 'fingerprint', ARGV[3], 'job', id, 'jobs', all)
  redis.call('PEXPIRE', KEYS[2], C.idempotency_ms)
else
  hold(all)
end
return dr.with_rate({ 'accepted', dr.int(now) }, ask)
