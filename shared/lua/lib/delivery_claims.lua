-- Claim the next delivery.
local clock, hosts, keys, outbox, permits, queue, util, webhook_secrets = ... -- requires

local M = {}

local LASTING = {
  'tenant',
  'model',
  'spec',
  'max_attempts',
  'priority',
  'on_unknown',
  'created',
  'batch',
  'hist',
  'trace',
  'tags',
  'webhook_url',
  'webhook_events',
  'prompt_withheld',
  'reused_from',
}

local function lasting(subject)
  local flat = {}
  local values = redis.call('HMGET', keys.job(subject), unpack(LASTING))
  for i, name in ipairs(LASTING) do
    if values[i] then
      flat[#flat + 1] = name
      flat[#flat + 1] = values[i]
    end
  end
  return flat
end

local function standing(delivery)
  if not delivery.standing then return {} end
  local target = redis.call('HMGET', keys.endpoint(delivery.endpoint), 'url', 'query', 'headers', 'payload', 'format')
  for i = 1, 5 do
    target[i] = target[i] or ''
  end
  return target
end

local function answer(delivery, fence, more)
  local secrets = webhook_secrets.signing(delivery.tenant, delivery.endpoint, clock.now())
  return {
    'delivery',
    delivery.id,
    fence,
    secrets,
    more and '1' or '',
    lasting(delivery.subject),
    redis.call('HGETALL', keys.delivery(delivery.id)),
    standing(delivery),
  }
end

-- Claim the delivery of the tenant whose turn it is, to the host whose turn it is there. Deliveries that may not be sent
-- now are moved where they belong, a limited number per call. The same nonce claims the same delivery.
-- Returns { 'delivery', id, fence, secrets, more ('1': there is another to claim), { fields of the job that do not
--       change... }, { record... }, { url, query, headers, payload, format of its standing endpoint, '' where absent } }
--       | { 'closed', reason, ms } | { 'empty' }
function M.claim(nonce, lease_ms)
  local before = redis.call('HMGET', keys.claim(nonce), 'delivery', 'fence')
  if before[1] then
    local delivery = outbox.load(before[1])
    if delivery and delivery.fence == before[2] then return answer(delivery, before[2], false) end
    return { 'empty' }
  end
  local now = clock.now()
  if redis.call('HEXISTS', keys.gate, 'paused:deliver') == 1 then return { 'closed', 'paused', '1000' } end

  for _ = 1, C.claim_scan_limit do
    local id = hosts.pop()
    if id == nil then return { 'empty' } end
    local delivery = id and outbox.load(id)
    if delivery and outbox.can_send(delivery, now) then
      local key = keys.delivery(id)
      local fence = util.int(redis.call('HINCRBY', key, 'fence', 1))
      redis.call('HINCRBY', key, 'attempt', 1)
      redis.call('HSET', key, 'state', 'sending')
      if delivery.test then redis.call('PEXPIRE', key, C.test_ms) end
      redis.call('ZADD', queue.deliveries.leases, now + tonumber(lease_ms), id)
      redis.call('HSET', keys.claim(nonce), 'delivery', id, 'fence', fence)
      redis.call('PEXPIRE', keys.claim(nonce), 60000)
      local _, more = permits.push(queue.deliveries)
      return answer(delivery, fence, more)
    end
    if id then hosts.release({ id = id }) end
  end
  return { 'closed', 'passing', '0' }
end

return M
