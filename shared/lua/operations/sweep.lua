#!lua flags=allow-oom
-- Do what has become due, step by step: see the end. `limit` bounds the work, so that Redis is never blocked for
-- long: if more is left, the reply says so and the sweep runs again at once.
-- Returns 'other' (another worker sweeps) | 'swept' due 'step ...' of the rescued, model and code of each failed,
--       permits pushed, 'id ...' of the rescued, 'model status code ms' of each job that ended outside of a worker
--       since the last sweep, '1' where more is left, the lines of budgets.record_thresholds since the last sweep
-- luacheck: no max line length (the loader reads the names in one line)
local args, clock, clock_rollback, endpoint_health, episodes, fallbacks, gate, hosts, jobs, keys, outbox, permits, queue, stats, tenant_events, util =
  ... -- requires
local now, lease, left = clock.now(), tonumber(args.lease_ms), tonumber(args.limit)
local many = 4 * left -- each costs a quarter of an ended job
-- Each may cost as much as ten deliveries.
local KEYS_NOTIFIED = 5
local due, rescued, rescued_ids, failed = 0, {}, {}, {}

-- Returns whether this worker sweeps now, and before which time no lease counts as expired.
local function begin()
  local last = redis.call('HMGET', keys.sweep, 'by', 'until', 'at', 'rescue_after')
  local lock, at = tonumber(last[2]) or 0, tonumber(last[3])
  -- a lock that lasts longer than any can was taken before the clock was set back
  if last[1] and last[1] ~= args.worker and lock > now and lock <= now + args.lock_ms then return false end
  if at and at > now then clock_rollback.apply(at - now) end
  -- No worker could renew while Redis was down, or its clock was changed: living workers get one full lease to do so.
  local rescue_after = math.min(tonumber(last[4]) or 0, now + lease)
  if not at or math.abs(now - at) > lease / 3 then rescue_after = now + lease end
  redis.call(
    'HSET',
    keys.sweep,
    'by',
    args.worker,
    'until',
    util.int(now + args.lock_ms),
    'at',
    util.int(now),
    'rescue_after',
    util.int(rescue_after)
  )
  return true, rescue_after
end

-- Return the members that are due. One without a record is dropped, because it would stop every later sweep; a test event
-- may expire while it is sent.
local function due_members(key, record)
  local found = {}
  local ids = redis.call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', 0, left)
  left = left - #ids
  for _, id in ipairs(ids) do
    if redis.call('EXISTS', record(id)) == 1 then
      found[#found + 1] = id
    elseif key == queue.deliveries.leases then
      hosts.release({ id = id })
    else
      redis.call('ZREM', key, id)
    end
  end
  return found
end

-- Count the threads of the living workers, which bound the permits.
local function count_threads()
  local threads = { generate = 0, deliver = 0 }
  for worker, line in pairs(util.read_hash(keys.workers) or {}) do
    local ends, count, name = string.match(line, '^(%d+) (%d+) (%a+)$')
    if tonumber(ends) < now then
      redis.call('HDEL', keys.workers, worker)
      redis.call('HDEL', keys.worker_leases, worker)
    else
      threads[name] = threads[name] + count
    end
  end
  redis.call('HSET', queue.jobs.state, 'bound', 2 * threads.generate + C.permits_at_start)
  redis.call('HSET', queue.deliveries.state, 'bound', 2 * threads.deliver + C.permits_at_start)
  return threads
end

local function make_due_ready()
  for _, id in ipairs(due_members(queue.jobs.due, keys.job)) do
    redis.call('ZREM', queue.jobs.due, id)
    redis.call('HDEL', keys.job(id), 'due')
    jobs.make_ready(jobs.load(id))
    due = due + 1
  end
  for _, id in ipairs(due_members(queue.deliveries.due, keys.delivery)) do
    redis.call('ZREM', queue.deliveries.due, id)
    redis.call('HDEL', keys.delivery(id), 'due')
    hosts.enqueue(outbox.load(id), now)
    due = due + 1
  end
end

local function fail(job, code, message, retryable)
  jobs.fail(job, now, code, message, retryable)
  jobs.report_end(job, now, code)
  util.append(failed, { job.model, code })
end

-- Queue a job again whose worker is gone, or fail it; return its step, or 'failed'.
local function rescue(job)
  local key = keys.job(job.id)
  jobs.record_attempt_error(job, now, 'lost', '{}')
  redis.call('HINCRBY', key, 'worker_losses', 1)
  local here = redis.call('HINCRBY', key, 'worker_losses_here', 1) -- since it made progress
  -- with a record at the provider the outcome is looked up, and is not unknown
  local calling = job.state == 'calling' and not job.pending
  if calling then
    redis.call('HINCRBY', key, 'unknown', 1)
    jobs.charge(job, now)
  end
  local known = redis.call('HMGET', key, 'unknown', 'regenerated', 'spare_calls')
  local extra = (tonumber(known[1]) or 0) + (tonumber(known[2]) or 0) - (tonumber(known[3]) or 0)
  if calling and (extra >= 2 or job.on_unknown == 'fail') then
    fail(
      job,
      'provider_unknown_outcome',
      'The worker was lost during the provider call; the image may have been generated.',
      '1'
    )
    return 'failed'
  elseif here >= C.max_worker_losses then
    if job.pending then jobs.charge(job, now) end
    fail(job, 'internal', 'Three workers were lost while they held this job.', '0')
    return 'failed'
  end
  local step = job.state
  job.attempt = util.int(math.max(job.attempt - 1, 0))
  -- The job may be what kills its workers, or one more loss may fail it: neither may run beside the other again. With
  -- a record at the provider two more losses do no harm.
  if not job.pending or here + 1 >= C.max_worker_losses then job.isolated = '1' end
  jobs.requeue(job, now, 0, job.isolated and { 'isolated', job.isolated } or {})
  return step
end

local function rescue_expired_leases()
  for _, id in ipairs(due_members(queue.jobs.leases, keys.job)) do
    local job = jobs.load(id)
    job.last = 'rescue'
    rescued[#rescued + 1], rescued_ids[#rescued_ids + 1] = rescue(job), id
  end
  for _, id in ipairs(due_members(queue.deliveries.leases, keys.delivery)) do
    local delivery = outbox.load(id)
    hosts.release(delivery)
    redis.call('HSET', keys.delivery(id), 'state', 'pending')
    redis.call('HINCRBY', keys.delivery(id), 'fence', 1) -- its lost sender may not settle it any more
    hosts.enqueue(delivery, now)
    rescued[#rescued + 1], rescued_ids[#rescued_ids + 1] = 'delivery', id
  end
end

local function end_overdue()
  for _, id in ipairs(due_members(keys.deadlines, keys.job)) do
    local job = jobs.load(id)
    if jobs.may(job, 'expire') then
      jobs.expire(job, now)
      util.append(failed, { job.model, 'deadline_exceeded' })
    else
      redis.call('ZADD', keys.deadlines, now + 1000, id) -- at the provider: look again
    end
  end
end

-- Jobs with fallbacks leave a model that is removed or paused, or has failed for long.
local function change_models()
  left = left
    - fallbacks.each_to_change(now, math.max(left, 0), function(id, model)
      local job = jobs.load(id)
      -- a process of an older version does not record that a job has left the queue
      if job and jobs.may(job, 'change_model') then jobs.change_model(job, model, now) end
    end)
end

-- Jobs that wait for a model which the provider no longer offers end without a call; they wait for a probe.
local function fail_removed_models()
  for _, model in ipairs(redis.call('SMEMBERS', queue.jobs.lanes)) do
    while left > 0 and gate.is_removed(now, util.read_hash(keys.gate) or {}, model) do
      local tag = redis.call('ZRANGE', queue.jobs.active .. model, 0, 0)[1]
      if not tag then break end
      local ready = queue.ready_key(queue.jobs, string.sub(tag, 17), model)
      for _, id in ipairs(redis.call('ZRANGE', ready, 0, math.min(left, 50) - 1)) do
        local job = jobs.load(id)
        job.last, left = 'expire', left - 1
        fail(job, 'model_unavailable', 'The provider does not offer this model any more.', '0')
      end
    end
  end
end

-- On a new day or month, check the groups that a budget held.
local function release_budgets()
  local groups = redis.call('ZRANGE', queue.jobs.budget_blocked, '-inf', now, 'BYSCORE', 'LIMIT', 0, many)
  for _, group in ipairs(groups) do
    redis.call('ZREM', queue.jobs.budget_blocked, group)
    queue.reschedule_group(queue.jobs, group, true)
  end
end

local function push_permits()
  local pushed = 0
  queue.drop_empty_lanes(queue.jobs)
  for _, q in ipairs({ queue.jobs, queue.deliveries }) do
    -- While nothing can be claimed, one thread of each process checks again by itself. One permit is for a process
    -- that has started since, perhaps with other keys.
    local most = (q ~= queue.jobs or gate.can_claim(now)) and many or 1
    for _ = 1, most do
      if not permits.push(q) then break end
      pushed = pushed + 1
    end
  end
  return pushed
end

-- Return what is to be counted and logged once: the jobs that ended, and the thresholds that were reached. A repetition
-- of this sweep, whose reply was lost, returns the same again.
local function take_reports()
  local last = redis.call('HMGET', keys.sweep, 'token', 'reports')
  if last[1] == args.token then return cjson.decode(last[2]) end
  local reports = {
    ended = redis.call('LPOP', keys.ended, C.ended_reported) or {},
    crossed = redis.call('LPOP', keys.crossed_thresholds, C.thresholds_reported) or {},
  }
  redis.call('HSET', keys.sweep, 'token', args.token, 'reports', cjson.encode(reports))
  return reports
end

local is_mine, rescue_after = begin()
if not is_mine then return { 'other' } end
stats.record_samples(now)
local threads = count_threads()
make_due_ready()
if now >= rescue_after then rescue_expired_leases() end
end_overdue()
change_models()
fail_removed_models()
endpoint_health.tick(now, many)
hosts.tick(threads.deliver, many)
release_budgets()
tenant_events.add_expiring_keys(now, KEYS_NOTIFIED)
local pushed = push_permits()
episodes.tick(now)
local reports = take_reports()
return {
  'swept',
  due,
  table.concat(rescued, ' '),
  failed,
  pushed,
  table.concat(rescued_ids, ' '),
  reports.ended,
  left <= 0 and '1' or '',
  reports.crossed,
}
