-- The part of the prelude that knows of limits: whether there is room for a job, how fast a queue goes, and what
-- was spent. Every function here is O(log n) at most, whatever the backlog.

local MINUTE_MS, DAY_MS = 60000, 86400000
-- What was seen so long ago counts a third; only time in which something waited passes.
local DRAIN_MS = 60000
-- Tags of one day that are counted apart; more are counted as one, ''.
local TAGS_MOST = 100
local EPSILON = 0.000001 -- sums of fractions of credits are never quite exact

----------------------------------------------------------------------------------------------
-- Requests of the last minute: the times of those that were let through, newest first
----------------------------------------------------------------------------------------------

local function rate_key(tenant) return '{dr}:rate:' .. tenant end

-- How many of the times kept lie within the last minute: none where the newest was noted before the clock was put
-- back.
local function recent(key, now)
  if (tonumber(redis.call('LINDEX', key, 0)) or 0) > now + 1000 then return 0 end
  local low, high = 0, redis.call('LLEN', key)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', key, middle)) > now - MINUTE_MS then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- For how many milliseconds a tenant must wait before `n` more requests; nil where it need not.
local function too_fast(tenant, now, limit, n)
  local key = rate_key(tenant)
  if recent(key, now) + n <= limit then return nil end
  local leaves = n <= limit and tonumber(redis.call('LINDEX', key, limit - n)) or now
  return math.max(leaves + MINUTE_MS - now, 1)
end

-- What a tenant's rate looks like: limit, what is left of it, and milliseconds until more is left;
-- nothing where it has no limit.
local function rate_reply(tenant, now, limit)
  if not limit then return '', '', '' end
  local key = rate_key(tenant)
  local used = recent(key, now)
  local oldest = used > 0 and tonumber(redis.call('LINDEX', key, used - 1)) + MINUTE_MS - now or 0
  return dr.int(limit), dr.int(math.max(limit - used, 0)), dr.int(oldest)
end

----------------------------------------------------------------------------------------------
-- Credits: an estimate. Promised to jobs that have not called yet, spent by calls that may have
-- been billed. A day is Redis' own, in UTC.
----------------------------------------------------------------------------------------------

function dr.day(now) return math.floor(now / DAY_MS) end
function dr.usage_key(tenant, day) return '{dr}:usage:' .. tenant .. ':' .. dr.int(day) end

local function credits_used_today(tenant, now)
  return tonumber(redis.call('HGET', dr.usage_key(tenant, dr.day(now)), 'credits')) or 0
end

local function midnight(now) return (dr.day(now) + 1) * DAY_MS - now end

local function reserved_credits(tenant) return tonumber(redis.call('HGET', '{dr}:reserved_credits', tenant)) or 0 end

-- Sets credits aside for jobs; a refusing budget counts them as if they were spent.
function dr.reserve_credits(tenant, credits)
  if credits == 0 then return end
  local left = tonumber(redis.call('HINCRBYFLOAT', '{dr}:reserved_credits', tenant, credits))
  if left < EPSILON then redis.call('HDEL', '{dr}:reserved_credits', tenant) end
end

-- Gives up what was reserved for a job that will not call for it.
function dr.release_credits(job)
  if not job.reserved_credits then return end
  dr.reserve_credits(job.tenant, -job.reserved_credits)
  redis.call('HDEL', dr.job_key(job.id), 'reserved_credits')
  job.reserved_credits = nil
end

local function count(key, tag, credits)
  redis.call('HINCRBY', key, tag and 'calls:' .. tag or 'calls', 1)
  if credits > 0 then
    redis.call('HINCRBYFLOAT', key, tag and 'credits:' .. tag or 'credits', credits)
  end
end

-- Counts a call that was, or may have been, billed: for the tenant, its day, and the job's tags.
function dr.charge_credits(job, now)
  dr.release_credits(job)
  local known = redis.call('HMGET', dr.job_key(job.id), 'credits', 'spec')
  local key, credits = dr.usage_key(job.tenant, dr.day(now)), tonumber(known[1]) or 0
  count(key, nil, credits)
  for _, tag in ipairs(cjson.decode(known[2]).tags or {}) do
    local counted = redis.call('HEXISTS', key, 'calls:' .. tag) == 1
    -- two fields for each tag and two for all
    if not counted and redis.call('HLEN', key) >= 2 * TAGS_MOST + 2 then tag = '' end
    count(key, tag, credits)
  end
  redis.call('PEXPIRE', key, C.usage_ms)
  if select(3, dr.jobs.limits(job.tenant)) then dr.reschedule_group(dr.jobs, job.tenant, false) end
end

-- Whether one more running job might go beyond a budget that holds. Each that runs counts as the
-- dearest there is until it ends, so the budget is never passed, whatever is called at once.
function dr.is_over_budget(group, running, budget, now)
  if not budget then return false end
  return credits_used_today(group, now) + (running + 1) * C.credits_most > budget + EPSILON
end

-- When a group that its budget holds is to be looked at again: the next day, by the sweep.
function dr.hold_group(q, group, now)
  redis.call('ZADD', q.budget_blocked, (dr.day(now) + 1) * DAY_MS, group)
end

----------------------------------------------------------------------------------------------
-- Throughput: how fast a queue goes, seen at each job that ends
----------------------------------------------------------------------------------------------

-- Jobs ended and busy milliseconds, both decayed, and when that was: '' where nothing was seen yet.
local function throughput_of(text)
  local ended, busy, at = string.match(text or '', '^(%S+) (%S+) (%S+)$')
  return tonumber(ended), tonumber(busy), tonumber(at)
end

-- Jobs a millisecond, for one that waits `since`; nil where nothing is known. What is asked long
-- after the last end counts the time in between: a queue that stands still gets slower and slower.
local function throughput_rate(text, now, since)
  local ended, busy, at = throughput_of(text)
  if not ended then return nil end
  local still = math.max(now - math.max(at, since), 0)
  local fade = math.exp(-still / DRAIN_MS)
  return math.max(ended * fade, 0.001) / math.max(busy * fade + still, 1)
end

local function throughput_after(key, now, since)
  local ended, busy, at = throughput_of(redis.call('HGET', key, 'throughput'))
  local passed = math.max(now - math.max(at or since, since), 0)
  local fade = math.exp(-passed / DRAIN_MS)
  redis.call('HSET', key, 'throughput', string.format('%.4f %.1f %.0f',
    (ended or 0) * fade + 1, (busy or 0) * fade + passed, now))
end

-- Notes that a job ended which a worker held: for its tenant and for all. The time before it came
-- is left out, so that an idle night is no slow one.
function dr.record_throughput(job, now)
  local since = tonumber(job.enqueued or job.created)
  throughput_after(dr.jobs.group .. job.tenant, now, since)
  throughput_after(dr.jobs.state, now, since)
end

----------------------------------------------------------------------------------------------
-- Why a job waits, and for how long
----------------------------------------------------------------------------------------------

-- What stands before all new calls of a tenant, of a model: `reason` ('' nothing), whether it is `held` with no
-- end in sight, the `throughput` to reckon with: its own, else an equal share of everybody's; the `gate` and the tenant's
-- `group` as they are kept.
function dr.admission_state(tenant, now, may, model)
  local known, gate = dr.hash(dr.jobs.group .. tenant) or {}, dr.hash('{dr}:gate') or {}
  local running = tonumber(known.running) or 0
  local reason = dr.why_closed(now, model, gate)
  local over = dr.is_over_budget(tenant, running, may.budget, now)
  local held = over or (reason ~= '' and reason ~= 'provider_rate')
  if reason == '' and (over or running >= may.running) then reason = 'tenant_limit' end
  return { reason = reason, held = held, throughput = known.throughput, gate = gate, group = known }
end

-- How many ready jobs of a tenant come before this rank, of models other than this one that are not held.
local function before_in_others(tenant, model, rank, now, outlook)
  local before = 0
  for name in pairs(outlook.group) do
    local lane = string.match(name, '^lane:(.*)$')
    if lane and lane ~= model and dr.model_closed(now, outlook.gate, lane) == '' then
      before = before + redis.call('ZCOUNT', dr.ready_key(dr.jobs, tenant, lane), '-inf', rank)
    end
  end
  return before
end

-- How many ready jobs of a tenant come before a new one of this model and rank.
local function position_of_new(ask, outlook)
  local own = redis.call('ZCOUNT', dr.ready_key(dr.jobs, ask.tenant, ask.model), '-inf', ask.rank)
  return own + before_in_others(ask.tenant, ask.model, ask.rank, ask.now, outlook)
end

-- How many ready jobs come before this one; nil where it is not ready itself.
local function position_of(id, job, now, outlook)
  if job.isolated then return redis.call('ZRANK', dr.jobs.isolated, id) end
  if job.answer then return redis.call('ZRANK', dr.jobs.paid, id) end
  local ready = dr.ready_key(dr.jobs, job.tenant, job.model)
  local rank = redis.call('ZSCORE', ready, id)
  return rank and redis.call('ZRANK', ready, id)
    + before_in_others(job.tenant, job.model, '(' .. rank, now, outlook)
end

-- In how many milliseconds a member of this rank is claimed, as far as can be told; else nil.
function dr.eta(outlook, rank, now, since)
  if outlook.held then return nil end
  local rate = throughput_rate(outlook.throughput, now, since)
  if not rate then
    local all = throughput_rate(redis.call('HGET', dr.jobs.state, 'throughput'), now, since)
    rate = all and all / math.max(dr.backlogged_groups(dr.jobs), 1)
  end
  return rate and math.floor(rank / rate)
end

-- Where a job stands: its rank (-1: not ready), why it is not claimed ('' but for its turn), and in
-- how many milliseconds it will be (-1: not known). `outlooks` keeps what is known of tenants and models.
function dr.position(id, job, now, outlooks)
  if job.state ~= 'queued' then return -1, '', -1 end
  if job.due then return -1, '', math.max(job.due - now, 0) end
  local since = tonumber(job.enqueued or job.created)
  local outlook
  if job.answer then -- the gate is not asked, nor the tenant's limits
    outlook = { reason = '', throughput = redis.call('HGET', dr.jobs.state, 'throughput') }
  else
    local whose = job.tenant .. ' ' .. job.model
    outlook = outlooks[whose] or dr.admission_state(job.tenant, now, dr.load_limits(job.tenant), job.model)
    outlooks[whose] = outlook
  end
  local rank = position_of(id, job, now, outlook)
  return rank or -1, outlook.reason, rank and dr.eta(outlook, rank, now, since) or -1
end

----------------------------------------------------------------------------------------------
-- Room: asked before anything is accepted
----------------------------------------------------------------------------------------------

-- What a tenant may have, of what is asked for; `running` and `budget` as dr.admission_state wants them.
function dr.load_limits(tenant)
  local given = redis.call('HMGET', dr.tenant_key(tenant), 'requests_per_minute', 'max_queued',
    'daily_credits', 'budget_action', 'max_running')
  local requests, credits = tonumber(given[1]), tonumber(given[3])
  local holds = given[4] == 'hold'
  return {
    requests = requests and math.floor(requests), queued = tonumber(given[2]),
    credits = not holds and credits or nil, budget = holds and credits or nil,
    running = tonumber(given[5]) or math.huge,
  }
end

-- How far the line is behind what a deadline allows, in milliseconds, or nil. A job is not taken
-- when the first of its own line has waited longer, for one of the same priority, than its deadline
-- is away, and the throughput does not tell that it goes faster now; nor when something could be claimed
-- and nobody has claimed anything for so long.
local function behind(ask, position, outlook)
  if position > 0 then
    local first = redis.call('ZRANGE', dr.ready_key(dr.jobs, ask.tenant, ask.model), 0, 0, 'WITHSCORES')
    local lag = ask.rank - (first[2] or ask.rank)
    local eta = lag > ask.deadline and dr.eta(outlook, position, ask.now, ask.now)
    if lag > ask.deadline and (not eta or eta > ask.deadline) then return lag end
  end
  local claimed = tonumber(redis.call('HGET', dr.jobs.state, 'claimed')) or 0
  if ask.now - claimed <= ask.deadline then return nil end
  local turn = dr.next_turn(dr.jobs)
  local head = turn and redis.call('ZRANGE', dr.ready_key(dr.jobs, turn.group, turn.lane), 0, 0)[1]
  if not head then return nil end
  local came = redis.call('HMGET', dr.job_key(head), 'enqueued', 'created')
  local still = ask.now - math.max(tonumber(came[1] or came[2]) or ask.now, claimed)
  return still > ask.deadline and still or nil
end

-- How long until throughput has made room for `n`, in milliseconds: '' where that is not known.
local function ms_until_served(throughput, now, n)
  local rate = throughput_rate(throughput, now, now)
  return rate and dr.int(math.ceil(n / rate)) or ''
end

-- Whether a client would rather be refused than wait so long. Where nothing was seen to end yet,
-- only the first in line is sure to wait no longer; where all is held, nobody is.
local function too_long(ask, position, outlook)
  if ask.max_position and position > ask.max_position then return true end
  if not ask.max_wait then return false end
  local eta = dr.eta(outlook, position, ask.now, ask.now)
  if eta then return eta > ask.max_wait end
  return outlook.held or position > 0
end

-- What the tenant itself has used up.
local function own_fault(ask, outlook)
  local may, tenant, now = ask.may, ask.tenant, ask.now
  local wait = may.requests and too_fast(tenant, now, may.requests, ask.requests)
  if wait then return { 'too_fast', dr.int(may.requests), dr.int(wait) } end
  local queued = dr.queued(tenant)
  if may.queued and ask.n > 0 and queued + ask.n > may.queued then
    local over = queued + ask.n - may.queued
    return { 'tenant_full', dr.int(queued), ms_until_served(outlook.throughput, now, over) }
  end
  if not may.credits or ask.free then return nil end
  local used = credits_used_today(tenant, now) + reserved_credits(tenant)
  if used + ask.credits > may.credits + EPSILON or used > may.credits - EPSILON then
    return { 'budget_spent', string.format('%.10g %.10g', used, may.credits), dr.int(midnight(now)) }
  end
end

-- Refuses what would call a model that the provider does not offer, until one call may ask again.
function dr.model_fault(ask, gate)
  local left = ask.model and ask.n > 0 and not ask.free and dr.gone_for(ask.now, gate, ask.model)
  return left and { 'model_gone', ask.model, dr.int(left) }
end

-- Why `n` more jobs may not be queued: nothing where they may, else a word, a detail, and for how
-- many milliseconds not ('' not known). Whoever queues asks this, and writes nothing if it answers.
-- `ask`: tenant, may (of dr.load_limits), model (of the first), now, n (0: nothing is to be queued), requests (that ask
-- for them), credits (of all together), free (they call nobody, so no budget stops them), rank (of the first),
-- deadline (ms), and as wished max_position and max_wait (ms).
-- Also gives the position and the ETA (ms, nil not known) that the first of them would have, and the
-- outlook of dr.admission_state.
function dr.check_admission(ask)
  local outlook = dr.admission_state(ask.tenant, ask.now, ask.may, ask.model)
  local position = position_of_new(ask, outlook)
  local eta = dr.eta(outlook, position, ask.now, ask.now)
  local fault = dr.model_fault(ask, outlook.gate) or own_fault(ask, outlook)
  if fault then return fault, position, eta, outlook end
  local all = tonumber(redis.call('HGET', '{dr}:counts', 'queued')) or 0
  if ask.n > 0 and all + ask.n > C.max_queue then
    local throughput = redis.call('HGET', dr.jobs.state, 'throughput')
    fault = { 'full', dr.int(all), ms_until_served(throughput, ask.now, all + ask.n - C.max_queue) }
  elseif ask.n > 0 then
    local lag = behind(ask, position, outlook)
    if lag then
      fault = { 'behind', dr.int(lag), dr.int(lag - ask.deadline) }
    elseif too_long(ask, position, outlook) then
      fault = { 'too_long', dr.int(position), eta and dr.int(eta) or '' }
    end
  end
  return fault, position, eta, outlook
end

-- Notes what was let in: the requests and what was reserved.
function dr.commit_admission(ask)
  dr.reserve_credits(ask.tenant, ask.credits)
  if not ask.may.requests or ask.requests == 0 then return end
  local key = rate_key(ask.tenant)
  local kept = recent(key, ask.now)
  for _ = 1, ask.requests do redis.call('LPUSH', key, dr.int(ask.now)) end
  redis.call('LTRIM', key, 0, kept + ask.requests - 1)
  redis.call('PEXPIRE', key, MINUTE_MS)
end

-- A reply with what is left of the tenant's rate behind it.
function dr.with_rate(reply, ask)
  for _, value in ipairs({ rate_reply(ask.tenant, ask.now, ask.may.requests) }) do
    reply[#reply + 1] = value
  end
  return reply
end

----------------------------------------------------------------------------------------------
-- Reuse: the last job of a tenant that succeeded with the same request
----------------------------------------------------------------------------------------------

local function reuse_key(tenant, request) return '{dr}:reuse:' .. tenant .. ':' .. request end

-- Remembers a job by its request, for as long as it is kept.
function dr.cache_result(job, request)
  redis.call('SET', reuse_key(job.tenant, request), job.id, 'PX', C.retention_ms)
end

-- The job of an identical request that still has its picture, and the picture; nil where none has.
function dr.reusable(tenant, request)
  local id = redis.call('GET', reuse_key(tenant, request))
  if not id then return nil end
  local known = redis.call('HMGET', dr.job_key(id), 'state', 'image')
  if known[1] ~= 'succeeded' then return nil end
  return id, known[2]
end
