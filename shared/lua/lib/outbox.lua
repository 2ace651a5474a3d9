-- Webhook deliveries: written in the same step as their event, sent by workers, kept as long as their subject. A
-- delivery waits in a line to its host (see `hosts`) or is parked with its endpoint.
local endpoints, hosts, index, keys, permits, queue, subscriptions, util = ... -- requires

local M = {}

local posts = queue.deliveries

-- The fields of a job that are stored with each delivery, because they change. The rest is read from the job itself.
local CHANGING = {
  'state',
  'version',
  'run',
  'attempt',
  'fence',
  'calls',
  'unknown',
  'regenerated',
  'worker_losses',
  'deadline',
  'started',
  'claimed',
  'finished',
  'expires',
  'image_expires',
  'due',
  'error_code',
  'error_message',
  'error_retryable',
  'enqueued',
  'spare_calls',
  'last_error_code',
  'record_id',
  'pending',
  'image',
  't_provider',
  't_download',
  't_store',
  'models',
}
-- The same of a job with fallbacks, which has `models`.
local CHANGING_WITH_MODEL = { 'model', 'spec' }
local DECIDING = {
  'subject',
  'tenant',
  'host',
  'endpoint',
  'type',
  'state',
  'attempt',
  'fence',
  'created',
  'version',
  'key',
  'forced',
  'test',
  'log',
  'standing',
}

-- How long a delivery waits for another one of the same job that is being sent.
local TURN_MS = 500

-- Return the fields of a delivery that decide its transitions, or nil if there is none.
function M.load(id)
  local values = redis.call('HMGET', keys.delivery(id), unpack(DECIDING))
  if not values[1] then return nil end
  local delivery = { id = id }
  for i, name in ipairs(DECIDING) do
    delivery[name] = values[i] or nil
  end
  return delivery
end

-- Return the record of a delivery's subject: a job's, unless it names another.
local function subject_key(delivery) return delivery.key or keys.job(delivery.subject) end

-- Count an unsettled delivery more or less; return how many its endpoint has (nil: a test).
local function count_pending(delivery, change)
  if delivery.test then return nil end
  index.count('webhook_pending', change)
  local left = redis.call('HINCRBY', keys.endpoint(delivery.endpoint), 'pending', change)
  if not delivery.standing then return left end
  if change > 0 then
    redis.call('ZADD', keys.standing_deliveries(delivery.endpoint), delivery.created, delivery.id)
  else
    redis.call('ZREM', keys.standing_deliveries(delivery.endpoint), delivery.id)
  end
  return left
end

-- Return the field of a subject that concerns one receiver: that of its own webhook, or a standing endpoint.
local function field_of(delivery, name) return delivery.standing and name .. ':' .. delivery.endpoint or name end

local function snapshot(record)
  local kept = {}
  local function keep(names)
    for i, value in ipairs(redis.call('HMGET', record, unpack(names))) do
      if value then
        kept[#kept + 1], kept[#kept + 2] = names[i], value
      end
    end
  end
  keep(CHANGING)
  if kept[#kept - 1] == 'models' then keep(CHANGING_WITH_MODEL) end
  return cjson.encode(kept)
end

local function message_id(subject, mark) return 'msg_' .. string.match(subject, '^%a+_(.*)$') .. '_' .. mark end

-- Return the deliveries of a subject, in the order of their events.
function M.for_subject(subject, key)
  local found = {}
  for mark in string.gmatch(redis.call('HGET', key, 'deliveries') or '', '%S+') do
    found[#found + 1] = message_id(subject, mark)
  end
  return found
end

local function park(delivery, known, now)
  redis.call('HSET', keys.delivery(delivery.id), 'state', 'parked')
  if redis.call('ZADD', keys.parked(delivery.endpoint), delivery.created, delivery.id) == 1 then
    index.count('webhook_parked', 1)
  end
  endpoints.await_probe(delivery.endpoint, known, now)
end

function M.enqueue(delivery, now, rank)
  redis.call('HSET', keys.delivery(delivery.id), 'state', 'pending')
  hosts.enqueue(delivery, rank or now)
  permits.push(posts)
end

-- Put a delivery that is to be sent in the place where it waits.
local function route(delivery, now)
  local known = endpoints.health(delivery.endpoint)
  if not delivery.forced and (known.off or known.next) then
    park(delivery, known, now)
  else
    M.enqueue(delivery, now)
  end
end

-- Return the endpoint, host and query of a subject's own webhook.
local function own_target(subject, record, now)
  local url = subject.webhook_url or redis.call('HGET', record, 'webhook_url')
  local endpoint, query = endpoints.ensure(subject.tenant, url, subject.webhook_host, now)
  return endpoint, subject.webhook_host, query
end

-- Return the endpoint, host and query of a standing endpoint.
local function standing_target(endpoint)
  local known = redis.call('HMGET', keys.endpoint(endpoint), 'host', 'query')
  return endpoint, known[1], known[2] or ''
end

-- Create a delivery to a standing endpoint, or to the subject's own webhook (`standing` is nil), unless there is one.
local function create(subject, kind, mark, standing, now)
  local id = message_id(subject.id, mark)
  local key = keys.delivery(id)
  if redis.call('EXISTS', key) == 1 then return end
  local record = subject.key or keys.job(subject.id)
  local endpoint, host, query
  if standing then
    endpoint, host, query = standing_target(standing)
  else
    endpoint, host, query = own_target(subject, record, now)
  end
  local fields = {
    'subject',
    subject.id,
    'tenant',
    subject.tenant,
    'host',
    host,
    'type',
    kind,
    'endpoint',
    endpoint,
    'state',
    'pending',
    'attempt',
    0,
    'fence',
    0,
    'created',
    util.int(now),
    'version',
    subject.version or 1,
    'snapshot',
    subject.snapshot or snapshot(record),
  }
  for name, value in pairs({ key = subject.key, query = query, standing = standing and 1 }) do
    if value ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  redis.call('HSET', key, unpack(fields))
  local owed = redis.call('HGET', record, 'deliveries')
  redis.call('HSET', record, 'deliveries', owed and (owed .. ' ' .. mark) or mark)
  redis.call('ZADD', keys.deliveries(subject.tenant), now, id)
  redis.call('ZADD', keys.deliveries(''), now, id)
  redis.call('HINCRBY', keys.endpoint(endpoint), 'kept', 1)
  local delivery = M.load(id)
  count_pending(delivery, 1)
  route(delivery, now)
end

-- Create the deliveries of an event: to the subject's own webhook if it requested this type, or, if the subject has none,
-- to the tenant's standing endpoints that are subscribed to it. `subject` has id, tenant, webhook_events, webhook_host,
-- version and run (absent: the only one). A job's URL and snapshot are read from its record. Another subject brings `key`
-- (its record), webhook_url and `snapshot` (JSON), and calls delete_for_subject when it is deleted.
function M.add(subject, kind, now)
  local mark = (subject.run or 1) .. '_' .. string.match(kind, '%.(.+)$')
  if subject.webhook_events then
    if util.has_word(kind, subject.webhook_events) then create(subject, kind, mark, nil, now) end
    return
  end
  for _, endpoint in ipairs(subscriptions.to(subject.tenant, kind)) do
    create(subject, kind, mark .. '_' .. string.sub(endpoint, 4), endpoint, now)
  end
end

-- Remove a delivery from wherever it is: its line, its due time, its sender's lease, the parked ones.
local function unschedule(delivery)
  hosts.release(delivery)
  hosts.dequeue(delivery)
  redis.call('HDEL', keys.delivery(delivery.id), 'due')
  if redis.call('ZREM', keys.parked(delivery.endpoint), delivery.id) == 1 then index.count('webhook_parked', -1) end
end

-- the delivery chosen as the probe is not sent
local function cancel_probe(delivery, now)
  local known = endpoints.health(delivery.endpoint)
  if known.probe ~= delivery.id then return end
  redis.call('HDEL', keys.endpoint(delivery.endpoint), 'probe')
  known.probe = nil
  if redis.call('ZCARD', keys.parked(delivery.endpoint)) > 0 then
    endpoints.await_probe(delivery.endpoint, known, now)
  end
end

-- End a delivery: 'delivered', 'failed' or 'superseded'.
function M.finish(delivery, state, now)
  local key = keys.delivery(delivery.id)
  redis.call('HSET', key, 'state', state, 'finished', util.int(now))
  redis.call('HDEL', key, 'forced')
  local left = count_pending(delivery, -1)
  if delivery.test then return end
  if state == 'failed' then
    redis.call('ZADD', keys.failed_deliveries(delivery.tenant), now, delivery.id)
    redis.call('ZADD', keys.failed_deliveries(''), now, delivery.id)
  end
  cancel_probe(delivery, now)
  if left == 0 then endpoints.retire_settled(delivery.endpoint) end
end

-- Delete a delivery, settled or not.
function M.drop(delivery, now)
  local left
  if util.has_word(delivery.state, 'pending sending parked') then
    unschedule(delivery)
    left = count_pending(delivery, -1)
  end
  cancel_probe(delivery, now)
  for _, whose in ipairs({ delivery.tenant, '' }) do
    redis.call('ZREM', keys.deliveries(whose), delivery.id)
    redis.call('ZREM', keys.failed_deliveries(whose), delivery.id)
  end
  redis.call('DEL', keys.delivery(delivery.id))
  if redis.call('HINCRBY', keys.endpoint(delivery.endpoint), 'kept', -1) <= 0 then
    endpoints.release(delivery.endpoint, now)
  elseif left == 0 then
    endpoints.retire_settled(delivery.endpoint)
  end
end

-- Return whether a delivery has somewhere to go: its standing endpoint may have been deleted.
function M.has_target(delivery)
  return not delivery.standing or redis.call('HEXISTS', keys.endpoint(delivery.endpoint), 'events') == 1
end

-- Return whether a claimed delivery may be sent now. If not, move it: it is deleted if its standing endpoint was, is
-- superseded if a newer event was delivered, waits while another one of the same subject is being sent to the same
-- receiver, and is parked while its endpoint is disabled or failing. A failing endpoint gets one delivery as its probe.
-- A delivery that is alone keeps its own schedule, which is slow enough.
function M.can_send(delivery, now)
  if delivery.test then return true end
  local known = endpoints.health(delivery.endpoint)
  if delivery.standing and not known.events then
    M.drop(delivery, now)
    return false
  end
  local id, subject = delivery.id, subject_key(delivery)
  local sending = field_of(delivery, 'sending_delivery')
  local told = redis.call('HMGET', subject, field_of(delivery, 'sent_version'), sending)
  if not delivery.forced and tonumber(told[1] or 0) > tonumber(delivery.version) then
    M.finish(delivery, 'superseded', now)
    return false
  end
  if told[2] and told[2] ~= id and redis.call('HGET', keys.delivery(told[2]), 'state') == 'sending' then
    redis.call('HSET', keys.delivery(id), 'due', util.int(now + TURN_MS))
    redis.call('ZADD', posts.due, now + TURN_MS, id)
    return false
  end
  local may_probe = not known.probe and (now >= (known.next or 0) or tonumber(known.pending) <= 1)
  local its_turn = not known.next or delivery.forced or known.probe == id or may_probe
  if known.off or not its_turn then
    park(delivery, known, now)
    return false
  end
  if known.next and not known.probe then
    redis.call('HSET', keys.endpoint(delivery.endpoint), 'probe', id)
    redis.call('ZREM', keys.endpoint_probes, delivery.endpoint)
  end
  redis.call('HSET', subject, sending, id)
  return true
end

-- Fail a parked delivery.
function M.fail_parked(delivery, now)
  unschedule(delivery)
  M.finish(delivery, 'failed', now)
end

-- Send a delivery again: its schedule starts over, and its attempts are not reset. Return whether it is sent: its
-- standing endpoint may have been deleted.
function M.redeliver(delivery, now)
  local key = keys.delivery(delivery.id)
  if not M.has_target(delivery) then return false end
  if util.has_word(delivery.state, 'delivered failed superseded') then
    count_pending(delivery, 1)
    redis.call('ZREM', keys.failed_deliveries(delivery.tenant), delivery.id)
    redis.call('ZREM', keys.failed_deliveries(''), delivery.id)
    redis.call('HDEL', key, 'finished')
    -- it may have been deleted since
    endpoints.ensure(delivery.tenant, redis.call('HGET', keys.endpoint(delivery.endpoint), 'url'), delivery.host, now)
  else
    unschedule(delivery)
  end
  redis.call('HSET', key, 'schedule_base', delivery.attempt)
  delivery.forced = redis.call('HGET', key, 'forced')
  route(delivery, now)
  return true
end

-- Record the newest version of a subject that its receiver has.
function M.mark_sent_version(delivery)
  local key, field = subject_key(delivery), field_of(delivery, 'sent_version')
  local known = tonumber(redis.call('HGET', key, field) or 0)
  if tonumber(delivery.version) > known then redis.call('HSET', key, field, delivery.version) end
end

-- Write a delivery back that the history had, settled as it was; `url` is that of its endpoint.
function M.restore(id, url, record, now)
  if redis.call('EXISTS', keys.delivery(id)) == 1 then return end
  redis.call('HSET', keys.delivery(id), unpack(util.append_fields({}, record)))
  local endpoint = endpoints.ensure(record.tenant, url, record.host, now)
  redis.call('HINCRBY', keys.endpoint(endpoint), 'kept', 1)
  for _, whose in ipairs({ record.tenant, '' }) do
    redis.call('ZADD', keys.deliveries(whose), record.created, id)
    if record.state == 'failed' then redis.call('ZADD', keys.failed_deliveries(whose), record.finished, id) end
  end
end

-- Delete the deliveries of a subject.
function M.delete_for_subject(subject, key, now)
  for _, id in ipairs(M.for_subject(subject, key)) do
    local delivery = M.load(id)
    if delivery then M.drop(delivery, now) end
  end
end

return M
