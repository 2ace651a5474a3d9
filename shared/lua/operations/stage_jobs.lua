#!lua
-- Stage a chunk of a batch: whole records under keys that nothing else reads, and their index entries, which lists
-- skip until the batch is committed. `jobs` has STRIDE values per job.
-- Returns 'ok' | 'lost' | a refusal of admission.check, rate...
local args, admission, batches, clock, fallbacks, keys, util = ... -- requires
local STRIDE = 15
local ID, SPEC, MODEL, PRIORITY, DEADLINE_MS, ON_UNKNOWN, URL, HOST, EVENTS, CREDITS, TAGS, WORDS, RECORD, IMAGE, FALLBACKS =
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
local batch, tenant, chunk, now = args.id, args.tenant, tonumber(args.chunk), clock.now()
local jobs, key = args.jobs, keys.batch(batch)
local known = redis.call('HMGET', key, 'state', 'chunks')
local chunks = tonumber(known[2]) or 0
if chunk > 0 and known[1] ~= 'staged' then return { 'lost' } end -- swept: it took too long
if chunk < chunks then return { 'ok' } end

-- A repeated request creates nothing, so no limit refuses it, which its own batch may have used up. The commit replies.
local is_repeated = args.idempotency_key ~= ''
  and redis.call('EXISTS', keys.idempotency(tenant, args.idempotency_key)) == 1

local stage, gate = batches.read_stage(key), util.read_hash(keys.gate) or {}
stage.api_key = args.api_key
local serving, reserved = {}, {} -- the model that serves each job, and the credits that are reserved for it
for i = 1, #jobs, STRIDE do
  local deadline, model = tonumber(jobs[i + DEADLINE_MS]), jobs[i + MODEL]
  local models, most = fallbacks.of_new(model, jobs[i + CREDITS], jobs[i + FALLBACKS])
  if models then model = fallbacks.choose(now, gate, models, model) end
  serving[i], reserved[i] = model, most
  stage.size, stage.credits = stage.size + 1, stage.credits + most
  if deadline < stage.deadline then
    stage.deadline, stage.priority, stage.model = deadline, jobs[i + PRIORITY], model
  end
  local fault = admission.model_fault({ model = model, n = is_repeated and 0 or 1, now = now }, gate)
  if fault then return admission.with_rate(fault, batches.admission_request(tenant, stage, now)) end
end
local ask = batches.admission_request(tenant, stage, now)
if is_repeated then
  ask.n, ask.requests, ask.free = 0, 0, true
end
local fault = admission.check(ask)
if fault then return admission.with_rate(fault, ask) end
-- the first chunk decides for the whole batch, because a limit may change before the commit
if chunk == 0 then stage.reserved_for = ask.may.reserved_for end

local created, members = util.int(now), {}
for i = 1, #jobs, STRIDE do
  local id, tags = jobs[i + ID], jobs[i + TAGS]
  local fields = util.omit_defaults({ priority = jobs[i + PRIORITY], on_unknown = jobs[i + ON_UNKNOWN] })
  local function add(name, value)
    if value ~= '' then
      fields[#fields + 1], fields[#fields + 2] = name, value
    end
  end
  add('webhook_url', jobs[i + URL])
  add('webhook_host', jobs[i + HOST])
  add('webhook_events', jobs[i + EVENTS])
  add('tags', tags)
  add('words', jobs[i + WORDS])
  add('record_retention', jobs[i + RECORD])
  add('image_retention', jobs[i + IMAGE])
  add('trace', args.trace)
  add('api_key', args.api_key)
  add('payer', ask.may.first_key or '')
  if tonumber(reserved[i]) > 0 then
    add('reserved_credits', reserved[i])
    add('reserved_for', stage.reserved_for or '')
  end
  local new = {
    model = jobs[i + MODEL],
    spec = jobs[i + SPEC],
    credits = jobs[i + CREDITS],
    fallbacks = jobs[i + FALLBACKS],
  }
  util.append_fields(fields, fallbacks.fields(new, serving[i]))
  redis.call(
    'HSET',
    keys.staged(id),
    'tenant',
    tenant,
    'created',
    created,
    'max_attempts',
    args.max_attempts,
    'deadline',
    jobs[i + DEADLINE_MS],
    'batch',
    batch,
    'state',
    'queued',
    'version',
    1,
    'attempt',
    0,
    'hist',
    '1 0 queued 0',
    unpack(fields)
  )
  for _, tag in ipairs(util.tags(tags)) do
    redis.call('ZADD', keys.jobs_by(tenant, 'tag', tag), 0, id)
  end
  members[#members + 1], members[#members + 2] = 0, id
end
for _, jobs_index in ipairs({
  keys.tenant_jobs(tenant),
  keys.jobs_by(tenant, 'status', 'queued'),
  keys.jobs_by('', 'status', 'queued'),
  keys.jobs_by(tenant, 'batch', batch),
}) do
  redis.call('ZADD', jobs_index, unpack(members))
end
redis.call(
  'HSET',
  key,
  'tenant',
  tenant,
  'state',
  'staged',
  'chunks',
  chunk + 1,
  'size',
  stage.size,
  'credits',
  stage.credits,
  'deadline',
  util.int(stage.deadline),
  'priority',
  stage.priority,
  'model',
  stage.model,
  'api_key',
  stage.api_key
)
if stage.reserved_for then redis.call('HSET', key, 'reserved_for', stage.reserved_for) end
redis.call('HINCRBY', keys.staged_counts, tenant, #members / 2)
redis.call('ZADD', keys.batch_work, now + C.stage_ms, batch)
return { 'ok' }
