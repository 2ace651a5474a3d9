#!lua flags=allow-oom
-- Claims the next delivery of the tenant whose turn it is, to the host whose turn it is there. What may
-- not be sent now is put where it belongs on the way, so many of them at most.
-- KEYS  1 the nonce of this claim: the same nonce gets the same delivery
-- ARGV  1 lease (ms)
-- Gives 'delivery' id fence secrets more ('1': there is another to claim) { fields of the job that do not change... } { record... }
--       | 'closed' reason ms | 'empty'
local now = dr.now()
local LASTING = {
  'tenant', 'model', 'spec', 'max_attempts', 'priority', 'on_unknown', 'created', 'batch', 'hist',
  'trace',
}

local function lasting(subject)
  local flat = {}
  local values = redis.call('HMGET', dr.job_key(subject), unpack(LASTING))
  for i, name in ipairs(LASTING) do
    if values[i] then
      flat[#flat + 1] = name
      flat[#flat + 1] = values[i]
    end
  end
  return flat
end

local function answer(delivery, fence, more)
  local secrets = dr.secrets(delivery.tenant, delivery.endpoint, now)
  return { 'delivery', delivery.id, fence, secrets, more and '1' or '', lasting(delivery.subject),
    redis.call('HGETALL', dr.delivery_key(delivery.id)) }
end

local before = redis.call('HMGET', KEYS[1], 'delivery', 'fence')
if before[1] then
  local delivery = dr.delivery(before[1])
  if delivery and delivery.fence == before[2] then return answer(delivery, before[2], false) end
  return { 'empty' }
end
if redis.call('HEXISTS', '{dr}:gate', 'paused:deliver') == 1 then
  return { 'closed', 'paused', '1000' }
end

for _ = 1, C.claim_looks do
  local id = dr.pop_delivery()
  if id == nil then return { 'empty' } end
  local delivery = id and dr.delivery(id)
  if delivery and dr.can_send(delivery, now) then
    local key = dr.delivery_key(id)
    local fence = dr.int(redis.call('HINCRBY', key, 'fence', 1))
    redis.call('HINCRBY', key, 'attempt', 1)
    redis.call('HSET', key, 'state', 'sending')
    if delivery.test then redis.call('PEXPIRE', key, C.test_ms) end
    redis.call('ZADD', dr.deliveries.leases, now + tonumber(ARGV[1]), id)
    redis.call('HSET', KEYS[1], 'delivery', id, 'fence', fence)
    redis.call('PEXPIRE', KEYS[1], 60000)
    local _, more = dr.permit(dr.deliveries)
    return answer(delivery, fence, more)
  end
  if id then dr.release_host({ id = id }) end
end
return { 'closed', 'passing', '0' }
