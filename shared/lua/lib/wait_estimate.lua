-- A job's position in its queue, why it waits, and for how long.
local credits, gate, keys, limits, queue, throughput, util = ... -- requires

local M = {}

-- How many ranks of neighbors are read at once.
local NEIGHBORS = 50

-- Return the keys of a tenant's ready jobs of other models that are not held. `group` and `record` are its group and the
-- gate as they are stored.
local function other_queues(tenant, model, now, group, record)
  local found = {}
  for name in pairs(group) do
    local lane = string.match(name, '^lane:(.*)$')
    if lane and lane ~= model and gate.model_closed(now, record, lane) == '' then
      found[#found + 1] = queue.ready_key(queue.jobs, tenant, lane)
    end
  end
  return found
end

-- Return what comes before all new calls of a tenant and a model: `reason` ('' nothing), whether it is `held` for an
-- unknown time, the `throughput` to use (the tenant's own, else an equal share of the total), the `gate` as it is stored,
-- and the tenant's `other_queues`.
function M.wait_state(tenant, now, may, model)
  local known, record = util.read_hash(queue.jobs.group .. tenant) or {}, util.read_hash(keys.gate) or {}
  local running = tonumber(known.running) or 0
  local reason = gate.why_closed(now, model, record)
  local over = credits.held_until(may.budgets, running, now) ~= nil
  -- a tenant that may run nothing waits until an operator changes that
  local held = over or may.running == 0 or (reason ~= '' and reason ~= 'provider_rate' and reason ~= 'model_rate')
  if reason == '' and running >= may.running then reason = 'tenant_limit' end
  if reason == '' and over then reason = 'budget' end
  local others = other_queues(tenant, model, now, known, record)
  return { reason = reason, held = held, throughput = known.throughput, gate = record, other_queues = others }
end

-- Return how many ready jobs of these queues come before a rank.
local function before_in(queues, rank)
  local before = 0
  for _, ready in ipairs(queues) do
    before = before + redis.call('ZCOUNT', ready, '-inf', rank)
  end
  return before
end

-- Return how many ready jobs of its model come before this one; nil if it is not ready. A page of a list usually has
-- neighbors, last first: after two of them, `wait_state` gets the ranks of those before, which are read at once.
local function own_rank(id, ready, wait_state)
  local known = wait_state.ranks and wait_state.ranks[id]
  local rank = known or redis.call('ZRANK', ready, id)
  if not rank then return nil end
  if not known and wait_state.last_rank == rank + 1 then
    local first = math.max(rank - NEIGHBORS, 0)
    wait_state.ranks = {}
    for i, member in ipairs(redis.call('ZRANGE', ready, first, rank)) do
      wait_state.ranks[member] = first + i - 1
    end
  end
  wait_state.last_rank = rank
  return rank
end

-- Return how many ready jobs of a tenant come before a new one of this model and rank, and for how many milliseconds
-- at least the model's rate delays it.
function M.position_of_new(ask, wait_state)
  local own = redis.call('ZCOUNT', queue.ready_key(queue.jobs, ask.tenant, ask.model), '-inf', ask.rank)
  local delay = gate.model_delay(ask.now, wait_state.gate, ask.model, own)
  return own + before_in(wait_state.other_queues, ask.rank), delay
end

-- Return how many ready jobs come before this one (nil if it is not ready itself), and for how many milliseconds at
-- least its model's rate delays it.
local function position_of(id, job, now, wait_state)
  local ready = queue.ready_key(queue.jobs, job.tenant, job.model)
  local own = own_rank(id, ready, wait_state)
  if not own then return nil, 0 end
  local least = gate.model_delay(now, wait_state.gate, job.model, own)
  if #wait_state.other_queues == 0 then return own, least end
  return own + before_in(wait_state.other_queues, '(' .. redis.call('ZSCORE', ready, id)), least
end

-- Return in how many milliseconds, but not less than `least`, a member of this rank is claimed, estimated; nil if
-- unknown.
function M.eta(wait_state, rank, now, since, least)
  if wait_state.held then return nil end
  local rate = throughput.rate(wait_state.throughput, now, since)
  if not rate then
    local all = throughput.rate(redis.call('HGET', queue.jobs.state, 'throughput'), now, since)
    rate = all and all / math.max(queue.backlogged_groups(queue.jobs), 1)
  end
  return rate and math.max(math.floor(rank / rate), least)
end

-- Return in how many milliseconds a job is claimed that comes before all groups (-1: unknown).
local function eta_before_groups(id, job, now, since, held)
  local rank = redis.call('ZRANK', job.isolated and queue.jobs.isolated or queue.jobs.paid, id)
  local all = { held = held, throughput = redis.call('HGET', queue.jobs.state, 'throughput') }
  return rank and M.eta(all, rank, now, since, 0) or -1
end

-- Return a job's rank, why it is not claimed ('': it only waits for its turn), and in how many milliseconds it will be
-- (-1: unknown). The rank is -1 for a job that is not ready, or that comes before all groups: there, it would count the
-- jobs of other tenants. `wait_states` caches the state by tenant and model.
function M.position(id, job, now, wait_states)
  if job.state ~= 'queued' then return -1, '', -1 end
  if job.due then return -1, '', math.max(job.due - now, 0) end
  local since = tonumber(job.enqueued or job.created)
  local wait_state = { reason = '' } -- for a job with an answer, neither the gate nor the tenant's limits matter
  if not job.answer then
    local whose = job.tenant .. ' ' .. job.model
    wait_state = wait_states[whose] or M.wait_state(job.tenant, now, limits.load(job.tenant, ''), job.model)
    wait_states[whose] = wait_state
  end
  if job.isolated or job.answer then
    return -1, wait_state.reason, eta_before_groups(id, job, now, since, wait_state.held)
  end
  local rank, least = position_of(id, job, now, wait_state)
  return rank or -1, wait_state.reason, rank and M.eta(wait_state, rank, now, since, least) or -1
end

return M
