#!lua flags=allow-oom
-- Claims the fairest job for one worker thread: first what is paid already, then, where this process
-- does none such, what is isolated; then the next, of the models that may be called, of the tenant whose turn it
-- is, with the usable key that has rested longest. Jobs that are over by now end here on the way.
-- KEYS  1 the nonce of this claim: the same nonce gets the same job
-- ARGV  1 sources of claim and resume  2 lease (ms)  3 '1': one that is isolated may be claimed
--       4... the provider keys: id, or id and team
-- Gives 'job' id fence key more ('1': there is another to claim) record... | 'closed' reason ms | 'empty'
local now = dr.now()

local function answer(id, fence, key, more)
  local reply = { 'job', id, fence, key, more and '1' or '' }
  for _, value in ipairs(redis.call('HGETALL', dr.job_key(id))) do reply[#reply + 1] = value end
  return reply
end

local before = redis.call('HMGET', KEYS[1], 'job', 'fence', 'key')
if before[1] then
  if redis.call('HGET', dr.job_key(before[1]), 'fence') == before[2] then
    return answer(before[1], before[2], before[3], false)
  end
  return { 'empty' }
end

local gate, keys = dr.hash('{dr}:gate') or {}, {}
for i = 4, #ARGV do
  local id, team = string.match(ARGV[i], '^(%S+) ?(%S*)$')
  keys[#keys + 1] = { id = id, team = team ~= '' and team or id }
end

-- Whether a model may be called; remembers what holds it for the shortest time.
local held, held_ms
local function open(model)
  local reason, left = dr.model_closed(now, gate, model)
  if reason ~= '' and (not held_ms or left < held_ms) then held, held_ms = reason, left end
  return reason == ''
end

-- Takes a job out of a place before all tenants.
local function take_priority(place, job)
  dr.remove_priority(dr.jobs, place, job.id)
  dr.acquire_slot(dr.jobs, job.tenant)
  return job
end

-- The first that is paid. One without a record is dropped: it would stop every claim to come.
local function first_paid()
  local id = redis.call('ZRANGE', dr.jobs.paid, 0, 0)[1]
  local job = id and dr.job(id)
  if id and not job then dr.remove_priority(dr.jobs, dr.jobs.paid, id) end
  return job
end

-- The first that is isolated, if this process may have it now. Those that their tenant's limits or their model
-- stop let the others pass.
local function first_isolated()
  if ARGV[3] ~= '1' then return nil end
  for _, id in ipairs(redis.call('ZRANGE', dr.jobs.isolated, 0, 19)) do
    local job = dr.job(id)
    if not (job and job.state == 'queued' and job.isolated) then -- moved on by who knows no such place
      dr.remove_priority(dr.jobs, dr.jobs.isolated, id)
    elseif job.answer or dr.has_slot(dr.jobs, job.tenant) and open(job.model) then
      return job
    else
      redis.call('ZADD', dr.jobs.isolated, now + 3600000, id)
    end
  end
end

-- Ends a job that is not to be called any more: its batch is being canceled, or its deadline has passed.
local function is_over(job)
  local late = tonumber(job.deadline) <= now
  if not late and not dr.is_canceled_by_batch(job) then return false end
  dr.release_slot(dr.jobs, job.tenant)
  if late then
    dr.expire(job, now)
  else
    dr.cancel(job, now)
  end
  return true
end

-- The next job for the provider, the isolated one before all others, and whether it is worth asking again where
-- there is none: so many that are over are ended at a time.
local function take(isolated)
  for _ = 1, C.claim_ends do
    local id = not isolated and dr.pop_fairest(dr.jobs, now, open)
    local job = isolated and take_priority(dr.jobs.isolated, isolated) or id and dr.job(id)
    if not job then return nil, false end
    if not is_over(job) then return job end
    isolated = nil
  end
  return nil, true
end

-- Says why nothing is claimed, while something waits that could be.
local function closed(reason, wait)
  local waiting = tonumber(redis.call('HGET', dr.jobs.state, 'claimable')) or 0
  return waiting > 0 and { 'closed', reason, dr.int(wait) } or { 'empty' }
end

local paid, isolated = first_paid(), first_isolated()
local job, key = nil, nil
if paid then
  job = take_priority(dr.jobs.paid, paid)
elseif isolated and isolated.answer then
  job = take_priority(dr.jobs.isolated, isolated)
else
  local reason, wait = dr.closed(now, gate)
  if reason ~= '' then return closed(reason, wait) end
  key, reason, wait = dr.choose_key(now, gate, keys)
  if not key then
    local reply = closed(reason, wait)
    if reply[1] == 'closed' then dr.record_no_key(now, reason, wait) end
    return reply
  end
  local more
  job, more = take(isolated)
  if more then return { 'closed', 'passing', '0' } end
  if not job then return held and closed(held, held_ms) or { 'empty' } end
  -- where another key can do it, not that with which it failed
  if job.failed_key == key.id then key = dr.choose_key(now, gate, keys, key.id) end
  dr.charge_gate(now, gate, key, job.model, #keys)
end

local id, key_id = job.id, key and key.id or ''
local fence = redis.call('HINCRBY', dr.job_key(id), 'fence', 1)
redis.call('ZADD', dr.jobs.leases, now + tonumber(ARGV[2]), id)
redis.call('HSET', KEYS[1], 'job', id, 'fence', fence, 'key', key_id)
redis.call('PEXPIRE', KEYS[1], 60000)
local first = job.attempt == '0'
job.attempt = dr.int(job.attempt + 1)
job.last = dr.int(fence) .. ' claim'
local fields = { 'claimed', dr.int(now) }
if not job.started then
  fields = { 'claimed', dr.int(now), 'started', dr.int(now) }
end
dr.transition(job, job.answer and 'fetching' or 'claimed', now, fields)
if first then dr.add_delivery(job, 'job.started', now) end
local _, more = dr.permit(dr.jobs)
return answer(id, dr.int(fence), key_id, more)
