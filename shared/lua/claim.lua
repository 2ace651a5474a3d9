#!lua flags=allow-oom
-- Claims the fairest job for one worker thread: first what is bought already, then, where this process
-- does none such, what is set apart; then, if the gate is open, the next of the tenant whose turn it is.
-- KEYS  1 the nonce of this claim: the same nonce gets the same job
-- ARGV  1 sources of claim and resume  2 lease (ms)  3 '1': one that is set apart may be claimed
--       4... ids of the provider keys
-- Gives 'job' id fence key more ('1': there is another to claim) record... | 'closed' reason ms | 'empty'
local now = dr.now()

local function answer(id, fence, key, more)
  local reply = { 'job', id, fence, key, more and '1' or '' }
  for _, value in ipairs(redis.call('HGETALL', dr.job_key(id))) do reply[#reply + 1] = value end
  return reply
end

-- Takes a job out of a place before all tenants.
local function draw(place, job)
  dr.draw(dr.jobs, place, job.id)
  dr.enter(dr.jobs, job.tenant)
  return job
end

-- The first that is bought. One without a record is dropped: it would stop every claim to come.
local function first_bought()
  local id = redis.call('ZRANGE', dr.jobs.bought, 0, 0)[1]
  local job = id and dr.job(id)
  if id and not job then dr.draw(dr.jobs, dr.jobs.bought, id) end
  return job
end

-- The first of those set apart, if this process may have it now. Those that their tenant's limits stop
-- let the others pass.
local function first_apart()
  if ARGV[3] ~= '1' then return nil end
  for _, id in ipairs(redis.call('ZRANGE', dr.jobs.apart, 0, 19)) do
    local job = dr.job(id)
    if not (job and job.state == 'queued' and job.apart) then -- moved on by who knows no such place
      dr.draw(dr.jobs, dr.jobs.apart, id)
    elseif job.answer or dr.may_enter(dr.jobs, job.tenant) then
      return job
    else
      redis.call('ZADD', dr.jobs.apart, now + 3600000, id)
    end
  end
end

-- The next job for the provider, that set apart before all others; those of a batch that is being
-- canceled end here, a few at a time.
local function take(apart)
  for _ = 1, 20 do
    local id = not apart and dr.take(dr.jobs, now)
    local job = apart and draw(dr.jobs.apart, apart) or id and dr.job(id)
    if not job or not dr.doomed(job) then return job end
    dr.vacate(dr.jobs, job.tenant)
    dr.cancel(job, now)
    apart = nil
  end
end

local before = redis.call('HMGET', KEYS[1], 'job', 'fence', 'key')
if before[1] then
  if redis.call('HGET', dr.job_key(before[1]), 'fence') == before[2] then
    return answer(before[1], before[2], before[3], false)
  end
  return { 'empty' }
end

local bought, apart = first_bought(), first_apart()
local job, key, writes = nil, '', nil
if bought then
  job = draw(dr.jobs.bought, bought)
elseif apart and apart.answer then
  job = draw(dr.jobs.apart, apart)
else
  local keys = {}
  for i = 4, #ARGV do keys[#keys + 1] = ARGV[i] end
  local wait
  key, writes, wait = dr.gate(now, keys)
  if not key then
    local waiting = tonumber(redis.call('HGET', dr.jobs.state, 'claimable')) or 0
    return waiting > 0 and { 'closed', writes, dr.int(wait) } or { 'empty' }
  end
  job = take(apart)
  if not job then return { 'empty' } end
  if #writes > 0 then redis.call('HSET', '{dr}:gate', unpack(writes)) end
end

local id = job.id
local fence = redis.call('HINCRBY', dr.job_key(id), 'fence', 1)
redis.call('ZADD', dr.jobs.leases, now + tonumber(ARGV[2]), id)
redis.call('HSET', KEYS[1], 'job', id, 'fence', fence, 'key', key)
redis.call('PEXPIRE', KEYS[1], 60000)
local first = job.attempt == '0'
job.attempt = dr.int(job.attempt + 1)
job.last = dr.int(fence) .. ' claim'
local fields = { 'claimed', dr.int(now) }
if not job.started then
  fields = { 'claimed', dr.int(now), 'started', dr.int(now) }
end
dr.move(job, job.answer and 'fetching' or 'claimed', now, fields)
if first then dr.owe(job, 'job.started', now) end
local _, more = dr.permit(dr.jobs)
return answer(id, dr.int(fence), key, more)
