#!lua
-- Accept a job: record, place in the queue, idempotency, index, event and permit in one step.
-- Returns 'accepted' created rank reason eta (ms, -1 not known) model rate... | 'replayed' id | 'gone' id
--       | 'reused' id | 'late' | a refusal of admission.check, rate...
local args, admission, clock, fallbacks, jobs, jobs_create, keys, limits, util, wait_estimate = ... -- requires
local now, job_key = clock.now(), keys.job(args.id)
local idempotency = args.fingerprint ~= '' and keys.idempotency(args.tenant, args.idempotency_key)
local reused = args.reused_from ~= ''
local models, most_credits = fallbacks.of_new(args.model, args.credits, args.fallbacks)
local ask = {
  tenant = args.tenant,
  may = limits.load(args.tenant, args.api_key),
  now = now,
  n = reused and 0 or 1,
  requests = 1,
  credits = reused and 0 or tonumber(most_credits),
  free = reused,
  model = args.model,
  models = not reused and models or nil,
  rank = now + C.priority_offset_ms[args.priority],
  deadline = tonumber(args.deadline_ms),
  max_position = tonumber(args.max_position),
  max_wait = tonumber(args.max_wait_ms),
}

local function accepted(model, created, rank, reason, eta)
  local reply = { 'accepted', created, util.int(math.max(rank, 0)), reason, util.int(eta), model }
  return admission.with_rate(reply, ask)
end

local before = util.read_hash(job_key)
if before then return accepted(before.model, before.created, wait_estimate.position(args.id, before, now, {})) end
if now > tonumber(args.not_after_ms) then return { 'late' } end
if idempotency then
  local known = redis.call('HMGET', idempotency, 'fingerprint', 'job')
  if known[1] and known[1] ~= args.fingerprint then return { 'reused', known[2] } end
  if known[1] and not jobs.may_exist(keys.job(known[2])) then return { 'gone', known[2] } end
  if known[1] then return { 'replayed', known[2] } end
end
local fault, position, eta, wait_state = admission.check(ask)
if fault then return admission.with_rate(fault, ask) end
-- the copy belongs to the job from now on; if it is being deleted already, the request came too late
if reused and redis.call('ZREM', keys.object_deletions, cjson.decode(args.image).key) == 0 then return { 'late' } end
admission.commit(ask, not reused and ask.may.reserved_for or nil)
jobs_create.create(args, now, ask.may, ask.model)
if idempotency then
  redis.call('HSET', idempotency, 'fingerprint', args.fingerprint, 'job', args.id)
  redis.call('PEXPIRE', idempotency, C.idempotency_ms)
end
if reused then return accepted(ask.model, util.int(now), -1, '', -1) end
return accepted(ask.model, util.int(now), position, wait_state.reason, eta or -1)
