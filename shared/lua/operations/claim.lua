#!lua flags=allow-oom
-- Claim the fairest job for one worker thread. A paid job comes first, then, if this process runs none, an isolated
-- one. Then comes the next job of a model that may be called and of the tenant whose turn it is, with the usable key
-- that has rested longest. Jobs that are already over are ended on the way.
-- Returns 'job' id fence key more ('1': there is another to claim) { record... } | 'closed' reason ms | 'empty'
local args, batches, clock, gate, jobs, keys, outbox, permits, provider_keys, queue, util = ... -- requires
local now = clock.now()

local function answer(id, fence, key, more)
  return { 'job', id, fence, key, more and '1' or '', redis.call('HGETALL', keys.job(id)) }
end

local before = redis.call('HMGET', keys.claim(args.nonce), 'job', 'fence', 'key')
if before[1] then
  if redis.call('HGET', keys.job(before[1]), 'fence') == before[2] then
    return answer(before[1], before[2], before[3], false)
  end
  return { 'empty' }
end

local record, pool = util.read_hash(keys.gate) or {}, {}
for _, line in ipairs(args.keys) do
  local id, team = string.match(line, '^(%S+) ?(%S*)$')
  pool[#pool + 1] = { id = id, team = team ~= '' and team or id }
end

local usable, no_key, no_key_ms = provider_keys.choose(now, record, pool)
-- Return whether a model may be called with one of our keys; remember what holds it for the shortest time.
local held, held_ms
local function open(model)
  local reason, left = gate.model_closed(now, record, model)
  if reason == '' and usable and gate.unoffered_for(now, record, usable, model) then
    local other, why, wait = provider_keys.choose(now, record, pool, model)
    if not other then
      reason, left = why, wait
    end
  end
  if reason ~= '' and (not held_ms or left < held_ms) then
    held, held_ms = reason, left
  end
  return reason == ''
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

-- Return the first isolated job, if this process may have it now. Jobs held by their tenant's limits or their model
-- are skipped.
local function first_isolated()
  if args.allow_isolated ~= '1' then return nil end
  for _, id in ipairs(redis.call('ZRANGE', queue.jobs.isolated, 0, 19)) do
    local job = jobs.load(id)
    if not (job and job.state == 'queued' and job.isolated) then -- changed by a process of an older version, which does not know this set
      queue.remove_priority(queue.jobs, queue.jobs.isolated, id)
    elseif job.answer or queue.has_slot(queue.jobs, job.tenant) and open(job.model) then
      return job
    else
      redis.call('ZADD', queue.jobs.isolated, now + 3600000, id)
    end
  end
end

-- End a job that will not be called any more: its batch is being canceled, or its deadline has passed.
local function is_over(job)
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
local function take(isolated)
  for _ = 1, C.claim_ends do
    local id = not isolated and queue.pop_fairest(queue.jobs, now, open)
    local job = isolated and take_priority(queue.jobs.isolated, isolated) or id and jobs.load(id)
    if not job then return nil, false end
    if not is_over(job) then return job end
    isolated = nil
  end
  return nil, true
end

-- Return why nothing is claimed, while a job waits.
local function closed(reason, wait)
  local waiting = tonumber(redis.call('HGET', queue.jobs.state, 'claimable')) or 0
  return waiting > 0 and { 'closed', reason, util.int(wait) } or { 'empty' }
end

local paid, isolated = first_paid(), first_isolated()
local job, key
if paid then
  job = take_priority(queue.jobs.paid, paid)
elseif isolated and isolated.answer then
  job = take_priority(queue.jobs.isolated, isolated)
else
  local reason, wait = gate.closed(now, record)
  if reason ~= '' then return closed(reason, wait) end
  if not usable then
    local reply = closed(no_key, no_key_ms)
    if reply[1] == 'closed' then gate.record_no_key(now, no_key, no_key_ms) end
    return reply
  end
  local more
  job, more = take(isolated)
  if more then return { 'closed', 'passing', '0' } end
  if not job then return held and closed(held, held_ms) or { 'empty' } end
  key = usable
  if job.failed_key == key.id or gate.unoffered_for(now, record, key, job.model) then
    key = provider_keys.choose(now, record, pool, job.model, job.failed_key)
  end
  gate.charge(now, record, key, job.model, #pool)
end

local id, key_id = job.id, key and key.id or ''
local fence = redis.call('HINCRBY', keys.job(id), 'fence', 1)
redis.call('ZADD', queue.jobs.leases, now + tonumber(args.lease_ms), id)
redis.call('HSET', keys.claim(args.nonce), 'job', id, 'fence', fence, 'key', key_id)
redis.call('PEXPIRE', keys.claim(args.nonce), 60000)
local first = job.attempt == '0'
job.attempt = util.int(job.attempt + 1)
job.last = util.int(fence) .. ' claim'
local fields = { 'claimed', util.int(now) }
if not job.started then fields = { 'claimed', util.int(now), 'started', util.int(now) } end
jobs.transition(job, job.answer and 'fetching' or 'claimed', now, fields)
if first then outbox.add(job, 'job.started', now) end
local _, more = permits.push(queue.jobs)
return answer(id, util.int(fence), key_id, more)
