----------------------------------------------------------------------------------------------
-- Webhooks that are owed, and where they wait.
--   delivery:<id>      one webhook and every attempt at it; kept as long as what it tells of
--   deliveries:<t>     when it came about -> delivery of a tenant; deliveries:<t>:failed  when it failed;
--                      with '' for the tenant those of all of them
--   endpoint:<id>      a tenant's address without its query: its health, its own secrets
--   endpoints:<t>      when it was first used -> endpoint
--   parked:<endpoint>  when it came about -> delivery that waits for the endpoint to be well
--   endpoint_probes    when a failing endpoint is asked again -> endpoint, while something is parked
--   endpoint_backlogs  endpoints that are well again and have more parked than was sent on so far
-- Slots are the host's, health is the endpoint's: what one tenant does to its own address touches
-- nobody else at the same host.
----------------------------------------------------------------------------------------------

local posts = dr.deliveries
-- What is kept of a job with each delivery: what changes. The rest is read from the job itself.
local CHANGING = {
  'state', 'version', 'run', 'attempt', 'fence', 'calls', 'unknown', 'regenerated', 'worker_losses',
  'deadline', 'started', 'claimed', 'finished', 'expires', 'due', 'error_code', 'error_message',
  'error_retryable', 'enqueued', 'spare_calls', 'last_error_code', 'record_id', 'pending', 'image',
  't_provider', 't_download', 't_store',
}
local DECIDING = {
  'subject', 'tenant', 'host', 'endpoint', 'type', 'state', 'attempt', 'fence', 'created',
  'version', 'key', 'forced', 'test', 'log',
}

function dr.endpoint_key(id) return '{dr}:endpoint:' .. id end
function dr.endpoints_key(tenant) return '{dr}:endpoints:' .. tenant end
function dr.deliveries_key(tenant) return '{dr}:deliveries:' .. tenant end
function dr.failed_key(tenant) return '{dr}:deliveries:' .. tenant .. ':failed' end
local function parked_key(endpoint) return '{dr}:parked:' .. endpoint end

-- An address without its query, which only correlates, and the query.
local function split(url)
  local bare = string.match(url, '^[^?#]*')
  return bare, string.sub(url, #bare + 1)
end

function dr.endpoint_id(tenant, url)
  return 'ep_' .. string.sub(redis.sha1hex(tenant .. ' ' .. split(url)), 1, 24)
end

-- Takes down an endpoint if it is new; gives its id and the query of the address.
function dr.endpoint(tenant, url, host, now)
  local bare, query = split(url)
  local id = dr.endpoint_id(tenant, url)
  local key = dr.endpoint_key(id)
  if redis.call('HSETNX', key, 'tenant', tenant) == 1 then
    redis.call('HSET', key, 'url', bare, 'host', host, 'created', dr.int(now))
    redis.call('ZADD', dr.endpoints_key(tenant), now, id)
  end
  redis.call('ZREM', '{dr}:endpoint_expiries', id)
  return id, query
end

-- The fields of a delivery that decide what becomes of it, or nil where there is none.
function dr.delivery(id)
  local values = redis.call('HMGET', dr.delivery_key(id), unpack(DECIDING))
  if not values[1] then return nil end
  local delivery = { id = id }
  for i, name in ipairs(DECIDING) do delivery[name] = values[i] or nil end
  return delivery
end

-- The record of what a delivery tells of: a job's, unless it names another.
local function subject_key(delivery) return delivery.key or dr.job_key(delivery.subject) end

local function count(name, change) redis.call('HINCRBY', '{dr}:counts', name, change) end

local function pend(delivery, change)
  if delivery.test then return end
  count('webhook_pending', change)
  redis.call('HINCRBY', dr.endpoint_key(delivery.endpoint), 'pending', change)
end

local function snapshot(key)
  local values, kept = redis.call('HMGET', key, unpack(CHANGING)), {}
  for i, name in ipairs(CHANGING) do
    if values[i] then
      kept[#kept + 1] = name
      kept[#kept + 1] = values[i]
    end
  end
  return cjson.encode(kept)
end

-- Writes a delivery if this type was asked for. `subject` has id, tenant, webhook_events, webhook_host,
-- version and run (nothing: the only one). A job's webhook and what is told are read from its
-- record; another subject brings `key` (its record), `hook` (its webhook as JSON) and `told` (the
-- data as JSON), and calls dr.delete_deliveries when it is forgotten.
function dr.add_delivery(subject, kind, now)
  if not subject.webhook_events or not dr.has_word(kind, subject.webhook_events) then return end
  local mark = (subject.run or 1) .. '_' .. string.match(kind, '%.(.+)$')
  local id = dr.message_id(subject.id, mark)
  local key = dr.delivery_key(id)
  if redis.call('EXISTS', key) == 1 then return end
  local record = subject.key or dr.job_key(subject.id)
  local hook = subject.hook and cjson.decode(subject.hook)
    or cjson.decode(redis.call('HGET', record, 'spec')).webhook
  local endpoint, query = dr.endpoint(subject.tenant, hook.url, subject.webhook_host, now)
  local fields = {
    'subject', subject.id, 'tenant', subject.tenant, 'host', subject.webhook_host, 'type', kind,
    'endpoint', endpoint, 'state', 'pending', 'attempt', 0, 'fence', 0, 'created', dr.int(now),
    'version', subject.version or 1, 'snapshot', subject.told or snapshot(record),
  }
  for name, value in pairs({ key = subject.key, hook = subject.hook, query = query }) do
    if value ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  redis.call('HSET', key, unpack(fields))
  local owed = redis.call('HGET', record, 'deliveries')
  redis.call('HSET', record, 'deliveries', owed and (owed .. ' ' .. mark) or mark)
  redis.call('ZADD', dr.deliveries_key(subject.tenant), now, id)
  redis.call('ZADD', dr.deliveries_key(''), now, id)
  redis.call('HINCRBY', dr.endpoint_key(endpoint), 'kept', 1)
  local delivery = dr.delivery(id)
  pend(delivery, 1)
  dr.route_delivery(delivery, now)
end

function dr.message_id(subject, mark)
  return 'msg_' .. string.match(subject, '^%a+_(.*)$') .. '_' .. mark
end

----------------------------------------------------------------------------------------------
-- Where a delivery waits: in a line to its host, or parked with its endpoint
----------------------------------------------------------------------------------------------

local HEALTH = { 'fails', 'since', 'next', 'probe', 'off', 'pending', 'tenant', 'url' }

-- How an endpoint is. It is failing while `next` (when it is asked again) is set, off while `off` is.
local function health(endpoint)
  local values = redis.call('HMGET', dr.endpoint_key(endpoint), unpack(HEALTH))
  local found = {}
  for i, name in ipairs(HEALTH) do found[name] = values[i] or nil end
  found.next = tonumber(found.next)
  return found
end

local function await_probe(endpoint, known, now)
  if known.next and not known.off and not known.probe then
    redis.call('ZADD', '{dr}:endpoint_probes', 'NX', math.max(known.next, now), endpoint)
  end
end

local function park(delivery, known, now)
  redis.call('HSET', dr.delivery_key(delivery.id), 'state', 'parked')
  if redis.call('ZADD', parked_key(delivery.endpoint), delivery.created, delivery.id) == 1 then
    count('webhook_parked', 1)
  end
  await_probe(delivery.endpoint, known, now)
end

local function line_up(delivery, now, rank)
  redis.call('HSET', dr.delivery_key(delivery.id), 'state', 'pending')
  dr.enqueue_delivery(delivery, rank or now)
  dr.permit(posts)
end

-- Puts a delivery that is to be sent where it waits.
function dr.route_delivery(delivery, now)
  local known = health(delivery.endpoint)
  if not delivery.forced and (known.off or known.next) then
    park(delivery, known, now)
  else
    line_up(delivery, now)
  end
end
