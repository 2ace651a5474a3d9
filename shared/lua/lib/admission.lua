-- Decide whether a new job is accepted: by the tenant's limits, the service's, and what the client asked for.
-- Everything here takes at most O(log n) time in the number of jobs.
local clock, credits, gate, index, keys, queue, rate_limit, throughput, util, wait_estimate = ... -- requires

local M = {}

-- Return by how many milliseconds the queue is too late for a deadline, or nil. A job is refused if the first job of
-- its own queue and priority has waited longer than the time to its deadline, and the throughput does not show that
-- the queue is faster now. It is also refused if a job could be claimed but none was claimed for that long.
local function behind(ask, position, wait_state)
  if position > 0 then
    local first = redis.call('ZRANGE', queue.ready_key(queue.jobs, ask.tenant, ask.model), 0, 0, 'WITHSCORES')
    local lag = ask.rank - (first[2] or ask.rank)
    local eta = lag > ask.deadline and wait_estimate.eta(wait_state, position, ask.now, ask.now)
    if lag > ask.deadline and (not eta or eta > ask.deadline) then return lag end
  end
  local claimed = tonumber(redis.call('HGET', queue.jobs.state, 'claimed')) or 0
  if ask.now - claimed <= ask.deadline then return nil end
  local turn = queue.next_turn(queue.jobs)
  local head = turn and redis.call('ZRANGE', queue.ready_key(queue.jobs, turn.group, turn.lane), 0, 0)[1]
  if not head then return nil end
  local came = redis.call('HMGET', keys.job(head), 'enqueued', 'created')
  local still = ask.now - math.max(tonumber(came[1] or came[2]) or ask.now, claimed)
  return still > ask.deadline and still or nil
end

-- Return in how many milliseconds the throughput makes room for `n` jobs; '' if unknown.
local function ms_until_served(seen, now, n)
  local rate = throughput.rate(seen, now, now)
  return rate and util.int(math.ceil(n / rate)) or ''
end

-- Return whether the client prefers a refusal to this wait. While the throughput is unknown, only the first in the
-- queue is sure to wait no longer; while everything is on hold, no job is.
local function too_long(ask, position, wait_state)
  if ask.max_position and position > ask.max_position then return true end
  if not ask.max_wait then return false end
  local eta = wait_estimate.eta(wait_state, position, ask.now, ask.now)
  if eta then return eta > ask.max_wait end
  return wait_state.held or position > 0
end

-- Return the tenant's own limit that is used up.
local function tenant_fault(ask, wait_state)
  local may, tenant, now = ask.may, ask.tenant, ask.now
  local wait = may.requests and rate_limit.wait_ms(tenant, now, may.requests, ask.requests)
  if wait then return { 'too_fast', util.int(may.requests), util.int(wait) } end
  local queued = index.count_queued(tenant)
  if may.queued and ask.n > 0 and queued + ask.n > may.queued then
    local over = queued + ask.n - may.queued
    return { 'tenant_full', util.int(queued), ms_until_served(wait_state.throughput, now, over) }
  end
  if not may.credits or ask.free then return nil end
  local used = credits.used_today(tenant, now) + credits.reserved(tenant)
  if used + ask.credits > may.credits + credits.EPSILON or used > may.credits - credits.EPSILON then
    return { 'budget_spent', string.format('%.10g %.10g', used, may.credits), util.int(clock.ms_to_midnight(now)) }
  end
end

-- Refuse a job of a model that the provider does not offer, until one call may try again.
function M.model_fault(ask, record)
  local left = ask.model and ask.n > 0 and not ask.free and gate.gone_for(ask.now, record, ask.model)
  return left and { 'model_gone', ask.model, util.int(left) }
end

-- Return why `n` more jobs may not be queued: nothing if they may, else an error code, a detail, and the milliseconds
-- until a retry ('' unknown). Every operation that queues calls this, and writes nothing if it returns a code. `ask`:
-- tenant, may (from limits.load), model (of the first), now, n (0: nothing is to be queued), requests (that ask for
-- them), credits (of all together), free (the jobs make no call, so no budget applies), rank (of the first), deadline
-- (ms), and the client's max_position and max_wait (ms). Also return the position and the ETA (ms, nil unknown) of
-- the first job, and its state from wait_estimate.wait_state.
function M.check(ask)
  local wait_state = wait_estimate.wait_state(ask.tenant, ask.now, ask.may, ask.model)
  local position = wait_estimate.position_of_new(ask, wait_state)
  local eta = wait_estimate.eta(wait_state, position, ask.now, ask.now)
  local fault = M.model_fault(ask, wait_state.gate) or tenant_fault(ask, wait_state)
  if fault then return fault, position, eta, wait_state end
  local all = tonumber(redis.call('HGET', keys.counts, 'queued')) or 0
  if ask.n > 0 and all + ask.n > C.max_queue then
    local seen = redis.call('HGET', queue.jobs.state, 'throughput')
    fault = { 'full', util.int(all), ms_until_served(seen, ask.now, all + ask.n - C.max_queue) }
  elseif ask.n > 0 then
    local lag = behind(ask, position, wait_state)
    if lag then
      fault = { 'behind', util.int(lag), util.int(lag - ask.deadline) }
    elseif too_long(ask, position, wait_state) then
      fault = { 'too_long', util.int(position), eta and util.int(eta) or '' }
    end
  end
  return fault, position, eta, wait_state
end

-- Record what was accepted: the requests, and the credits that are reserved.
function M.commit(ask)
  credits.reserve(ask.tenant, ask.credits)
  if ask.may.requests then rate_limit.record(ask.tenant, ask.now, ask.requests) end
end

-- Return a reply that ends with the tenant's remaining rate.
function M.with_rate(reply, ask)
  return util.append(reply, { rate_limit.describe(ask.tenant, ask.now, ask.may.requests) })
end

return M
