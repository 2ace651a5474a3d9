#!lua flags=allow-oom
-- Puts right what time has brought: due attempts, expired leases, deadlines, models that are gone, new days,
-- missing permits. Keeps the counters as they stand, for those who look back. What it may touch is bounded, so
-- that Redis is never held for long: where more is left, the sweep says so and is made again at once.
-- KEYS  1 the sweep's own record  2 the living workers  3 what they hold
-- ARGV  1 worker  2 lock (ms)  3 lease (ms)  4 most members in all  5 sources of expire
-- Gives 'other' | 'swept' due 'step step ...' of the rescued, model and code of each failed, pushed,
--       'id id ...' of the rescued, 'model status code ms' of each that ended here or by a cancel
--       since the last sweep, '1' where more is left
local now = dr.now()
local sweep = redis.call('HMGET', KEYS[1], 'by', 'until', 'at', 'rescue_after', unpack(C.history_steps))
local lock = tonumber(sweep[2]) or 0
-- a lock that lasts longer than any was taken before the clock was put back
if sweep[1] and sweep[1] ~= ARGV[1] and lock > now and lock <= now + ARGV[2] then return { 'other' } end
local lease, left = tonumber(ARGV[3]), tonumber(ARGV[4])
local many = 4 * left -- of what costs a quarter of an ended job
if sweep[3] and tonumber(sweep[3]) > now then dr.step_back(sweep[3] - now, KEYS[2]) end

-- Nobody could renew while Redis was away, or while its clock was put on or back: give the living one full lease
-- to say so.
local rescue_after = math.min(tonumber(sweep[4]) or 0, now + lease)
if not sweep[3] or math.abs(now - sweep[3]) > lease / 3 then rescue_after = now + lease end
redis.call('HSET', KEYS[1], 'by', ARGV[1], 'until', dr.int(now + ARGV[2]), 'at', dr.int(now),
  'rescue_after', dr.int(rescue_after))

-- Each step's sample is taken by the first sweep in it: where none swept, none is there.
local sample
for i, step in ipairs(C.history_steps) do
  local slot = dr.int(math.floor(now / step))
  if sweep[4 + i] ~= slot then
    sample = sample or dr.sample(now)
    redis.call('HSET', KEYS[1], step, slot)
    redis.call('XADD', '{dr}:history:' .. step, 'MINID', '~', dr.int(now - C.history_kept * step), '*',
      unpack(sample))
  end
end

-- Members whose time has come. One without a record is dropped: it would stop every sweep to come.
local function upto_now(key, record)
  local found = {}
  local ids = redis.call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', 0, left)
  left = left - #ids
  for _, id in ipairs(ids) do
    if redis.call('EXISTS', record(id)) == 1 then
      found[#found + 1] = id
    else
      redis.call('ZREM', key, id)
    end
  end
  return found
end

local threads = { generate = 0, deliver = 0 }
for worker, value in pairs(dr.hash(KEYS[2]) or {}) do
  local ends, count, queue = string.match(value, '^(%d+) (%d+) (%a+)$')
  if tonumber(ends) < now then
    redis.call('HDEL', KEYS[2], worker)
    redis.call('HDEL', KEYS[3], worker)
  else
    threads[queue] = threads[queue] + count
  end
end
redis.call('HSET', dr.jobs.state, 'bound', 2 * threads.generate + C.permits_at_start)
redis.call('HSET', dr.deliveries.state, 'bound', 2 * threads.deliver + C.permits_at_start)

local due = 0
for _, id in ipairs(upto_now(dr.jobs.due, dr.job_key)) do
  redis.call('ZREM', dr.jobs.due, id)
  redis.call('HDEL', dr.job_key(id), 'due')
  dr.make_ready(dr.job(id))
  due = due + 1
end
for _, id in ipairs(upto_now(dr.deliveries.due, dr.delivery_key)) do
  redis.call('ZREM', dr.deliveries.due, id)
  redis.call('HDEL', dr.delivery_key(id), 'due')
  dr.enqueue_delivery(dr.delivery(id), now)
  due = due + 1
end

local failed = {}
local function fail(job, code, message, retryable)
  dr.fail(job, now, code, message, retryable)
  dr.report_end(job, now, code)
  failed[#failed + 1] = job.model
  failed[#failed + 1] = code
end

-- What the step tells about a job whose worker is gone.
local function rescue(job)
  dr.record_attempt_error(job, now, 'lost', '{}')
  redis.call('HINCRBY', dr.job_key(job.id), 'worker_losses', 1)
  local here = redis.call('HINCRBY', dr.job_key(job.id), 'worker_losses_here', 1) -- since it got further
  -- with a record at the provider the outcome is looked up, and not unknown
  local calling = job.state == 'calling' and not job.pending
  if calling then
    redis.call('HINCRBY', dr.job_key(job.id), 'unknown', 1)
    dr.charge_credits(job, now)
  end
  local known = redis.call('HMGET', dr.job_key(job.id), 'unknown', 'regenerated', 'spare_calls')
  local extra = (tonumber(known[1]) or 0) + (tonumber(known[2]) or 0) - (tonumber(known[3]) or 0)
  if calling and (extra >= 2 or job.on_unknown == 'fail') then
    fail(job, 'provider_unknown_outcome',
      'The worker was lost while the provider was asked; the picture may have been made.', '1')
  elseif here >= C.max_crashes then
    fail(job, 'internal', 'Three workers were lost while they did this job.', '0')
  else
    local step = job.state
    job.attempt = dr.int(math.max(job.attempt - 1, 0))
    -- It may be the one that takes its workers down, or the next loss may fail it beside that: neither
    -- may be beside the other again. With a record at the provider two losses more do no harm.
    if not job.pending or here + 1 >= C.max_crashes then job.isolated = '1' end
    dr.requeue(job, now, 0, job.isolated and { 'isolated', job.isolated } or {})
    return step
  end
  return 'failed'
end

local rescued, ids = {}, {}
if now >= rescue_after then
  for _, id in ipairs(upto_now(dr.jobs.leases, dr.job_key)) do
    local job = dr.job(id)
    job.last = 'rescue'
    rescued[#rescued + 1], ids[#ids + 1] = rescue(job), id
  end
  for _, id in ipairs(upto_now(dr.deliveries.leases, dr.delivery_key)) do
    local delivery = dr.delivery(id)
    dr.release_host(delivery)
    redis.call('HSET', dr.delivery_key(id), 'state', 'pending')
    redis.call('HINCRBY', dr.delivery_key(id), 'fence', 1) -- its lost sender has no more say
    dr.enqueue_delivery(delivery, now)
    rescued[#rescued + 1], ids[#ids + 1] = 'delivery', id
  end
end

for _, id in ipairs(upto_now('{dr}:deadlines', dr.job_key)) do
  local job = dr.job(id)
  if dr.has_word(job.state, ARGV[5]) then
    dr.expire(job, now)
    failed[#failed + 1], failed[#failed + 2] = job.model, 'deadline_exceeded'
  else
    redis.call('ZADD', '{dr}:deadlines', now + 1000, id) -- at the provider: look again
  end
end

-- What waits for a model that the provider does not offer any more ends without a call.
for _, model in ipairs(redis.call('SMEMBERS', dr.jobs.lanes)) do
  while left > 0 and dr.gone_for(now, dr.hash('{dr}:gate') or {}, model) do
    local tag = redis.call('ZRANGE', dr.jobs.active .. model, 0, 0)[1]
    if not tag then break end
    local ready = dr.ready_key(dr.jobs, string.sub(tag, 17), model)
    for _, id in ipairs(redis.call('ZRANGE', ready, 0, math.min(left, 50) - 1)) do
      local job = dr.job(id)
      job.last, left = 'expire', left - 1
      fail(job, 'model_unavailable', 'The provider does not offer this model any more.', '0')
    end
  end
end

dr.tick_endpoints(now, many)
dr.tick_hosts(threads.deliver, many)
-- A new day: what a budget held is looked at again.
for _, group in ipairs(redis.call('ZRANGE', dr.jobs.budget_blocked, '-inf', now, 'BYSCORE', 'LIMIT', 0, many)) do
  redis.call('ZREM', dr.jobs.budget_blocked, group)
  dr.reschedule_group(dr.jobs, group, true)
end

local pushed = 0
dr.drop_empty_lanes(dr.jobs)
for _, q in ipairs({ dr.jobs, dr.deliveries }) do
  -- While nothing can be claimed, one thread of each process looks again by itself. One permit is for a process
  -- that has come since, with other keys perhaps.
  local most = (q ~= dr.jobs or dr.can_claim(now)) and many or 1
  for _ = 1, most do
    if not dr.permit(q) then break end
    pushed = pushed + 1
  end
end
local ended = redis.call('LPOP', '{dr}:ended', C.ends_told) or {}
return { 'swept', due, table.concat(rescued, ' '), failed, pushed, table.concat(ids, ' '), ended,
  left <= 0 and '1' or '' }
