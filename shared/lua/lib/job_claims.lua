-- Claim the next job.
local batches, clock, gate, jobs, keys, outbox, permits, provider_keys, queue, util = ... -- requires

local M = {}

local function answer(id, fence, key, more)
  return { 'job', id, fence, key, more and '1' or '', redis.call('HGETALL', keys.job(id)) }
end

-- Return what the calls of this claim depend on: the gate, the worker's keys, and which of these is to be used next.
local function turn_of(lines)
  local turn = { now = clock.now(), record = util.read_hash(keys.gate) or {}, pool = {} }
  for _, line in ipairs(lines) do
    local id, team = string.match(line, '^(%S+) ?(%S*)$')
    turn.pool[#turn.pool + 1] = { id = id, team = team ~= '' and team or id }
  end
  turn.usable, turn.no_key, turn.no_key_ms = provider_keys.choose(turn.now, turn.record, turn.pool)
  -- Return whether a model may be called with one of the keys; remember what holds it for the shortest time.
  turn.open = function(model)
    local reason, left = gate.model_closed(turn.now, turn.record, model)
    if reason == '' and turn.usable and gate.unoffered_for(turn.now, turn.record, turn.usable, model) then
      local other, why, wait = provider_keys.choose(turn.now, turn.record, turn.pool, model)
      if not other then
        reason, left = why, wait
      end
    end
    if reason ~= '' and (not turn.held_ms or left < turn.held_ms) then
      turn.held, turn.held_ms = reason, left
    end
    return reason == ''
  end
  return turn
end

-- Remove a job from a place before all tenants.
local function take_priority(place, job)
  queue.remove_priority(queue.jobs, place, job.id)
  queue.acquire_slot(queue.jobs, job.tenant)
  return job
end

-- Return the first paid job. One without a record is dropped, because it would stop every later claim.
local function first_paid()
  local id = redis.call('ZRANGE', queue.jobs.paid, 0, 0)[1]
  local job = id and jobs.load(id)
  if id and not job then queue.remove_priority(queue.jobs, queue.jobs.paid, id) end
  return job
end

-- Return the first isolated job that this process may have now. Jobs held by their tenant's limits or their model are
-- skipped.
local function first_isolated(turn)
  for _, id in ipairs(redis.call('ZRANGE', queue.jobs.isolated, 0, 19)) do
    local job = jobs.load(id)
    if not (job and job.state == 'queued' and job.isolated) then -- changed by a process of an older version, which does not know this set
      queue.remove_priority(queue.jobs, queue.jobs.isolated, id)
    elseif job.answer or queue.has_slot(queue.jobs, job.tenant) and turn.open(job.model) then
      return job
    else
      redis.call('ZADD', queue.jobs.isolated, turn.now + 3600000, id)
    end
  end
end

-- End a job that will not be called any more: its batch is being canceled, or its deadline has passed.
local function is_over(job, now)
  local late = tonumber(job.deadline) <= now
  if not late and not batches.is_canceled(job) then return false end
  queue.release_slot(queue.jobs, job.tenant)
  if late then
    jobs.expire(job, now)
  else
    jobs.cancel(job, now)
  end
  return true
end

-- Return the next job for the provider, an isolated one first, and whether a further call may find one: the number of
-- over jobs ended in one call is limited.
local function take(turn, isolated)
  for _ = 1, C.claim_ends do
    local id = not isolated and queue.pop_fairest(queue.jobs, turn.now, turn.open)
    local job = isolated and take_priority(queue.jobs.isolated, isolated) or id and jobs.load(id)
    if not job then return nil, false end
    if not is_over(job, turn.now) then return job end
    isolated = nil
  end
  return nil, true
end

-- Return why nothing is claimed, while a job waits.
local function closed(reason, wait)
  local waiting = tonumber(redis.call('HGET', queue.jobs.state, 'claimable')) or 0
  return waiting > 0 and { 'closed', reason, util.int(wait) } or { 'empty' }
end

-- Return a job for the provider and the key for its call, which is charged to the gate; or the reply without a job.
local function take_for_call(turn, isolated)
  local now, record = turn.now, turn.record
  local reason, wait = gate.closed(now, record)
  if reason ~= '' then return nil, closed(reason, wait) end
  local key = turn.usable
  if not key then
    local reply = closed(turn.no_key, turn.no_key_ms)
    if reply[1] == 'closed' then gate.record_no_key(now, turn.no_key, turn.no_key_ms) end
    return nil, reply
  end
  local job, more = take(turn, isolated)
  if more then return nil, { 'closed', 'passing', '0' } end
  if not job then return nil, turn.held and closed(turn.held, turn.held_ms) or { 'empty' } end
  if job.failed_key == key.id or gate.unoffered_for(now, record, key, job.model) then
    key = provider_keys.choose(now, record, turn.pool, job.model, job.failed_key)
  end
  gate.charge(now, record, key, job.model, #turn.pool)
  return job, key
end

-- Record that the job is leased to the claim with this nonce; return its fence.
local function lease(job, key_id, now, nonce, lease_ms)
  local fence = redis.call('HINCRBY', keys.job(job.id), 'fence', 1)
  redis.call('ZADD', queue.jobs.leases, now + tonumber(lease_ms), job.id)
  redis.call('HSET', keys.claim(nonce), 'job', job.id, 'fence', fence, 'key', key_id)
  redis.call('PEXPIRE', keys.claim(nonce), 60000)
  local first = job.attempt == '0'
  job.attempt = util.int(job.attempt + 1)
  job.last = util.int(fence) .. ' claim'
  local fields = { 'claimed', util.int(now) }
  if not job.started then fields = { 'claimed', util.int(now), 'started', util.int(now) } end
  jobs.transition(job, job.answer and 'fetching' or 'claimed', now, fields)
  if first then outbox.add(job, 'job.started', now) end
  return util.int(fence)
end

-- Claim the fairest job for one worker thread. A paid job comes first, then, if the worker allows it, an isolated one.
-- Then comes the next job of a model that may be called and of the tenant whose turn it is, with the usable key that
-- has rested longest. Jobs that are already over are ended on the way. The same nonce claims the same job. `lines` are
-- the worker's keys, each an id and its team.
-- Returns { 'job', id, fence, key, more ('1': there is another to claim), { record... } } | { 'closed', reason, ms }
--       | { 'empty' }
function M.claim(nonce, lease_ms, lines, allow_isolated)
  local before = redis.call('HMGET', keys.claim(nonce), 'job', 'fence', 'key')
  if before[1] then
    if redis.call('HGET', keys.job(before[1]), 'fence') == before[2] then
      return answer(before[1], before[2], before[3], false)
    end
    return { 'empty' }
  end

  local turn = turn_of(lines)
  local paid, isolated = first_paid(), allow_isolated and first_isolated(turn) or nil
  local job, key
  if paid then
    job = take_priority(queue.jobs.paid, paid)
  elseif isolated and isolated.answer then
    job = take_priority(queue.jobs.isolated, isolated)
  else
    job, key = take_for_call(turn, isolated)
    if not job then return key end
  end
  local key_id = key and key.id or ''
  local fence = lease(job, key_id, turn.now, nonce, lease_ms)
  local _, more = permits.push(queue.jobs)
  return answer(job.id, fence, key_id, more)
end

return M
