-- Decide whether a new job is accepted: by the limits of the tenant and the key, the service's, and what the client
-- asked for.
-- Everything here takes at most O(log n) time in the number of jobs.
local budgets, clock, credits, fallbacks, gate, index, keys, queue, rate_limit, throughput, util, wait_estimate = ... -- requires

local M = {}

-- Return for how many milliseconds a job has waited; nil if it has no record of its own yet.
local function waited_ms(id, now)
  local known = redis.call('HMGET', keys.job(id), 'enqueued', 'created')
  local since = tonumber(known[1] or known[2])
  return since and now - since
end

-- Return by how many milliseconds the queue is too late for a deadline, or nil. A job is refused if the first job of
-- its own queue has waited longer than the time to its deadline, and the throughput does not show that the queue is
-- faster now. Ranks leave out how long a job of a lower priority has waited; one of a higher priority has waited for
-- less than they say. A job is also refused if a job could be claimed but none was claimed for that long.
local function behind(ask, position, eta)
  if position > 0 and (not eta or eta > ask.deadline) then
    local first = redis.call('ZRANGE', queue.ready_key(queue.jobs, ask.tenant, ask.model), 0, 0, 'WITHSCORES')
    local lag = ask.rank - (first[2] or ask.rank)
    if lag > ask.deadline then lag = math.min(lag, waited_ms(first[1], ask.now) or lag) end
    if lag > ask.deadline then return lag end
  end
  local claimed = tonumber(redis.call('HGET', queue.jobs.state, 'claimed')) or 0
  if ask.now - claimed <= ask.deadline then return nil end
  local turn = queue.next_turn(queue.jobs)
  local head = turn and redis.call('ZRANGE', queue.ready_key(queue.jobs, turn.group, turn.lane), 0, 0)[1]
  if not head then return nil end
  local still = math.min(waited_ms(head, ask.now) or 0, ask.now - claimed)
  return still > ask.deadline and still or nil
end

-- Return in how many milliseconds the throughput makes room for `n` jobs; '' if unknown.
local function ms_until_served(seen, now, n)
  local rate = throughput.rate(seen, now, now)
  return rate and util.int(math.ceil(n / rate)) or ''
end

-- Return whether the client prefers a refusal to this wait. While the throughput is unknown, only the first in the
-- queue is sure to wait no longer; while everything is on hold, no job is.
local function too_long(ask, position, eta, wait_state)
  if ask.max_position and position > ask.max_position then return true end
  if not ask.max_wait then return false end
  if eta then return eta > ask.max_wait end
  return wait_state.held or position > 0
end

-- Return the refusal for the rate that requires the longest wait.
local function rate_fault(ask)
  local longest, fault = 0, nil
  for _, rate in ipairs(ask.may.rates) do
    local wait = ask.requests > 0 and rate_limit.wait_ms(rate, ask.now, ask.requests)
    if wait and wait > longest then
      longest, fault = wait, { 'too_fast', rate.scope .. ' ' .. util.int(rate.limit), util.int(wait) }
    end
  end
  return fault
end

-- Return the refusal for the budget that cannot pay for the jobs; of several, the one whose period ends last. On the
-- last day of a month, day and month end together: it is the month's.
local function budget_fault(ask)
  local latest, fault = 0, nil
  for _, budget in ipairs(ask.may.budgets) do
    local used = not budget.holds and credits.used(budget, ask.now) + credits.reserved(budget.payer)
    local most = budget.limit + credits.EPSILON
    if used and (used + ask.credits > most or used > budget.limit - credits.EPSILON) then
      local ends = clock.period_end(budget.period, ask.now)
      if ends > latest or (ends == latest and budget.period == 'month') then
        latest, fault = ends, { 'budget_spent', budgets.describe(budget, ask.now), util.int(ends - ask.now) }
      end
    end
  end
  return fault
end

-- Return why a request of several jobs could never be accepted, even if nothing else were queued or spent. A limit of
-- zero is a switch, not a size.
local function size_fault(ask)
  if ask.n <= 1 then return nil end
  for scope, most in pairs({ tenant = ask.may.queued, service = C.max_queue }) do
    if most > 0 and ask.n > most then return { 'too_many_jobs', scope .. ' ' .. util.int(most), '' } end
  end
  for _, budget in ipairs(ask.free and {} or ask.may.budgets) do
    if not budget.holds and budget.limit > 0 and ask.credits > budget.limit + credits.EPSILON then
      return { 'too_expensive', budgets.describe(budget, ask.now), '' }
    end
  end
end

-- Return the limit of the tenant or the key that is used up.
local function own_fault(ask, wait_state)
  local may, tenant, now = ask.may, ask.tenant, ask.now
  local too_large = size_fault(ask)
  if too_large then return too_large end
  local too_fast = rate_fault(ask)
  if too_fast then return too_fast end
  local queued = index.count_queued(tenant)
  if may.queued and ask.n > 0 and queued + ask.n > may.queued then
    local over = queued + ask.n - may.queued
    return { 'tenant_full', util.int(queued), ms_until_served(wait_state.throughput, now, over) }
  end
  return not ask.free and budget_fault(ask) or nil
end

-- Refuse a job of a model that the provider does not offer, until one call may try again.
function M.model_fault(ask, record)
  local left = ask.model and ask.n > 0 and not ask.free and gate.gone_for(ask.now, record, ask.model)
  return left and { 'model_gone', ask.model, util.int(left) }
end

-- Return why `n` more jobs may not be queued: nothing if they may, else an error code, a detail, and the milliseconds
-- until a retry ('' unknown). Every operation that queues calls this, and writes nothing if it returns a code. `ask`:
-- tenant, may (from limits.load of the tenant and the key), model (of the first), models (all of a single job with
-- fallbacks; `model` is then set to the one that serves it), now, n (0: nothing is to be queued), requests (that ask
-- for them), credits (of all together), free (the jobs make no call, so no budget applies), rank (of the first),
-- deadline (ms), and the client's max_position and max_wait (ms). Also return the position and the ETA (ms, nil unknown)
-- of the first job, and its state from wait_estimate.wait_state.
function M.check(ask)
  if ask.models then ask.model = fallbacks.choose(ask.now, util.read_hash(keys.gate) or {}, ask.models, ask.model) end
  local wait_state = wait_estimate.wait_state(ask.tenant, ask.now, ask.may, ask.model)
  local position, least = wait_estimate.position_of_new(ask, wait_state)
  local eta = wait_estimate.eta(wait_state, position, ask.now, ask.now, least)
  local gone = ask.may.gone and { 'tenant_gone', '', '' }
  local fault = gone or M.model_fault(ask, wait_state.gate) or own_fault(ask, wait_state)
  if fault then return fault, position, eta, wait_state end
  local all = tonumber(redis.call('HGET', keys.counts, 'queued')) or 0
  if ask.n > 0 and all + ask.n > C.max_queue then
    local seen = redis.call('HGET', queue.jobs.state, 'throughput')
    fault = { 'full', util.int(all), ms_until_served(seen, ask.now, all + ask.n - C.max_queue) }
  elseif ask.n > 0 then
    local lag = behind(ask, position, eta)
    if lag then
      fault = { 'behind', util.int(lag), util.int(lag - ask.deadline) }
    elseif too_long(ask, position, eta, wait_state) then
      fault = { 'too_long', util.int(position), eta and util.int(eta) or '' }
    end
  end
  return fault, position, eta, wait_state
end

-- Record what was accepted: the requests, and the credits that are reserved for the tenant and `reserved_for` (the key
-- that has a budget; nil: none).
function M.commit(ask, reserved_for)
  credits.reserve(ask.tenant, ask.credits)
  if reserved_for then credits.reserve(reserved_for, ask.credits) end
  for _, rate in ipairs(ask.may.rates) do
    rate_limit.record(rate, ask.now, ask.requests)
  end
end

-- Return a reply that ends with what remains of the rate: of the tenant's or the key's, whichever is less.
function M.with_rate(reply, ask) return util.append(reply, { rate_limit.describe(ask.may.rates, ask.now) }) end

return M
