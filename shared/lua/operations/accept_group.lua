#!lua
-- Accept the jobs of one request, all or none; or find those that an earlier attempt of it created.
-- Returns 'accepted' created rate... | 'joined' id... | 'gone' id | 'reused' id | 'late'
--       | a refusal of admission.check, rate...
local args, admission, clock, jobs, jobs_create, keys, limits, util = ... -- requires
local open_groups, tenant, now = keys.open_groups(args.tenant, args.body), args.tenant, clock.now()
local STRIDE = 3 -- `jobs` has the id, spec and words of each
local id, count = args.jobs[1], #args.jobs / STRIDE
local nonce = keys.group_of(id) -- a retry that is sent twice joins the same jobs
local refused = keys.refused_groups(args.tenant, args.body)
local ask = {
  tenant = tenant,
  may = limits.load(tenant, args.api_key),
  now = now,
  n = count,
  requests = 1,
  credits = count * args.credits,
  rank = now + C.priority_offset_ms[args.priority],
  deadline = tonumber(args.deadline_ms),
  model = args.model,
}

-- Return the jobs of an earlier attempt; a deleted one makes them `gone`.
local function join(ids)
  local reply = { 'joined' }
  for one in string.gmatch(ids, '%S+') do
    if not jobs.may_exist(keys.job(one)) then return { 'gone', one } end
    reply[#reply + 1] = one
  end
  redis.call('SET', nonce, ids, 'PX', 60000)
  return reply
end

-- Record that a client waits for these jobs now: of several attempts, the one abandoned first is joined.
local function hold(ids)
  redis.call('ZADD', open_groups, now, ids)
  redis.call('PEXPIRE', open_groups, args.keep_ms)
end

if redis.call('EXISTS', keys.job(args.jobs[1])) == 1 then
  return admission.with_rate({ 'accepted', redis.call('HGET', keys.job(args.jobs[1]), 'created') }, ask)
end
local before = redis.call('GET', nonce)
if before then return join(before) end

-- Join the attempt that was abandoned first. One whose client still waits, as far as is known, is joined too (its
-- process may be dead), but not by a retry of a refused request.
local function join_open_group()
  local first = redis.call('ZRANGE', open_groups, 0, 0, 'WITHSCORES')
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
    redis.call('ZREM', open_groups, first[1])
    first = redis.call('ZRANGE', open_groups, 0, 0, 'WITHSCORES')
  end
end

-- A retry of a refused request finds no jobs of its own to join.
local function refuse(reply)
  redis.call('INCR', refused)
  redis.call('PEXPIRE', refused, args.keep_ms)
  return reply
end

if now > tonumber(args.not_after_ms) then return refuse({ 'late' }) end
if args.fingerprint ~= '' then
  local known = redis.call('HMGET', keys.idempotency(args.tenant, args.idempotency_key), 'fingerprint', 'job', 'jobs')
  if known[1] and known[1] ~= args.fingerprint then return { 'reused', known[2] } end
  if known[1] then return join(known[3]) end
elseif args.is_retry == '1' then
  local joined = join_open_group()
  if joined then return joined end
end

local fault = admission.check(ask)
if fault then return refuse(admission.with_rate(fault, ask)) end
admission.commit(ask, ask.may.reserved_for)
local ids = {}
for i = 1, #args.jobs, STRIDE do
  ids[#ids + 1] = args.jobs[i]
  jobs_create.create({
    id = args.jobs[i],
    spec = args.jobs[i + 1],
    words = args.jobs[i + 2],
    tenant = tenant,
    deadline_ms = args.deadline_ms,
    model = args.model,
    max_attempts = args.max_attempts,
    priority = args.priority,
    on_unknown = args.on_unknown,
    credits = args.credits,
    trace = args.trace,
    api_key = args.api_key,
  }, now, ask.may)
end
local all = table.concat(ids, ' ')
if args.fingerprint ~= '' then
  redis.call(
    'HSET',
    keys.idempotency(args.tenant, args.idempotency_key),
    'fingerprint',
    args.fingerprint,
    'job',
    id,
    'jobs',
    all
  )
  redis.call('PEXPIRE', keys.idempotency(args.tenant, args.idempotency_key), C.idempotency_ms)
else
  hold(all)
end
return admission.with_rate({ 'accepted', util.int(now) }, ask)
