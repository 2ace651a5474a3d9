-- Update the gate from the results of calls to the provider and to storage: see `apply`. `record` is the gate as it
-- was read.
local gate, keys, util = ... -- requires

local M = {}

-- Hold new calls until a time. Only the result of a probe shortens a hold.
local function hold(record, name, ends, now)
  local left = gate.held_for(record, name, now)
  if left and not record['probe:' .. name] and now + left > ends then return end
  redis.call('HSET', keys.gate, 'hold:' .. name, util.int(ends))
  redis.call('HDEL', keys.gate, 'probe:' .. name)
  local model = string.match(name, '^provider_down:model:(.*)$')
  if model then redis.call('HSETNX', keys.gate, 'failing_since:' .. model, util.int(now)) end
end

-- Open the circuit of a subject: once for all calls that were in flight then, and again when a probe fails.
local function open_circuit(record, subject, now)
  local name = 'provider_down:' .. subject
  if gate.held_for(record, name, now) and not record['probe:' .. name] then return end
  local trips = math.min(redis.call('HINCRBY', keys.gate, 'trips:' .. subject, 1), 6)
  hold(record, name, now + 500 * 2 ^ trips, now)
end

-- Record a successful call, which shows that its key and its model work. It lifts a rate limit of the key or a lack
-- of credits of its team only if the call began after that hold did, which only a probe can have done. A model that
-- was gone is offered again.
local function healthy(record, key, model)
  local fields = {}
  local function clear(name)
    if record[name] then fields[#fields + 1] = name end
  end
  local function free(name)
    clear('hold:' .. name)
    clear('probe:' .. name)
  end
  for _, subject in ipairs({ 'key:' .. key.id, 'model:' .. model }) do
    for _, name in ipairs({ 'fails:', 'with:', 'trips:' }) do
      clear(name .. subject)
    end
    free('provider_down:' .. subject)
    local budget = tonumber(record['budget:' .. subject])
    if budget and budget + C.retry_share < C.retry_budget then
      redis.call('HSET', keys.gate, 'budget:' .. subject, string.format('%.2f', budget + C.retry_share))
    else
      clear('budget:' .. subject)
    end
  end
  for _, name in ipairs({ 'gone:' .. model, 'unoffered:' .. key.id .. ':' .. model }) do
    clear(name)
    clear('probe:' .. name)
  end
  clear('failing_since:' .. model)
  for _, name in ipairs({ 'refused:', 'revived:' }) do
    if record[name .. key.id] == model then clear(name .. key.id) end
  end
  for _, name in ipairs({ 'provider_rate:key:' .. key.id, 'provider_credits:team:' .. key.team }) do
    if record['probe:' .. name] then free(name) end
  end
  if not record['hold:provider_credits:team:' .. key.team] or record['probe:provider_credits:team:' .. key.team] then
    clear('credits:' .. key.team)
  end
  if #fields > 0 then redis.call('HDEL', keys.gate, unpack(fields)) end
end

-- Count a failed call of a subject, and what it was made with; return how often it failed in a row, with how many
-- different ones, and what is left of its budget.
local function count_failure(record, subject, other)
  local fails = redis.call('HINCRBY', keys.gate, 'fails:' .. subject, 1)
  local budget = math.max((tonumber(record['budget:' .. subject]) or C.retry_budget) - 1, 0)
  local others = record['with:' .. subject] or ''
  if not util.has_word(other, others) then others = others == '' and other or others .. ' ' .. other end
  local _, spaces = string.gsub(others, ' ', '')
  redis.call('HSET', keys.gate, 'budget:' .. subject, string.format('%.2f', budget), 'with:' .. subject, others)
  return fails >= C.circuit_failures or budget == 0, spaces + 1
end

-- Return whether there is another usable key, among those used lately.
local function has_other_key(now, record, key)
  for name, at in pairs(record) do
    local id = string.match(name, '^tat:(.*)$')
    if id and id ~= key.id and gate.is_used(at, now) and not gate.key_excluded(record, id) then
      local team = string.match(record['key:' .. id] or '', '^%S+ (%S+) ') or id
      if not gate.key_held(now, record, { id = id, team = team }) then return true end
    end
  end
  return false
end

-- Record a failed call. Some failures in a row open a circuit, and so does a failure budget that is used up;
-- successful calls refill it. It is the model's circuit if the model failed with different keys or no other key is
-- usable; else it is the key's, while another key can do its work.
local function failed(record, key, model, now)
  local key_subject, model_subject = 'key:' .. key.id, 'model:' .. model
  local key_fails = count_failure(record, key_subject, model)
  local model_fails, keys_used = count_failure(record, model_subject, key.id)
  local other = has_other_key(now, record, key)
  if keys_used > 1 or not other then
    if model_fails then open_circuit(record, model_subject, now) end
  elseif key_fails then
    open_circuit(record, key_subject, now)
  end
end

-- Add a job to a list of up to three; return whether it was in the list, and how many are now.
local function add_waiting(record, name, job)
  local jobs = record[name] or ''
  local known = util.has_word(job, jobs)
  local _, count = string.gsub(jobs, '%S+', '')
  if not known and count < 3 then
    redis.call('HSET', keys.gate, name, jobs == '' and job or jobs .. ' ' .. job)
    count = count + 1
  end
  return known, count
end

-- Record an image that could not be stored. One job alone holds new calls once, for a while, because the storage may
-- refuse its image only; several hold calls as long as any of them waits. If images of other jobs were stored since,
-- it holds nothing.
local function unstored(record, job, ends, now)
  if util.has_word(job, record.refused_images or '') then return end
  local known, count = add_waiting(record, 'unstored', job)
  if not known or count > 1 then hold(record, 'storage', ends, now) end
end

-- Record which jobs still wait for the storage although it has stored the image of another job: the last three.
local function set_refused(record, stored_job)
  local jobs = {}
  for id in string.gmatch((record.unstored or '') .. ' ' .. (record.refused_images or ''), '%S+') do
    if id ~= stored_job and #jobs < 3 then jobs[#jobs + 1] = id end
  end
  local refused = table.concat(jobs, ' ')
  if refused == (record.refused_images or '') then return end
  if refused == '' then
    redis.call('HDEL', keys.gate, 'refused_images')
  else
    redis.call('HSET', keys.gate, 'refused_images', refused)
  end
end

-- Record an image that could not be downloaded. One job alone holds new calls once, for a while; when others fail at
-- the same host, they hold calls as long as any of them waits. If images now come from another host, one or two jobs
-- are an exception and hold nothing.
local function unfetched(record, job, now, host)
  local known, count = add_waiting(record, 'unfetched', job)
  redis.call('HSET', keys.gate, 'image_host', host)
  local is_exception = count < 3 and record.fetched_host and record.fetched_host ~= host
  if not is_exception and (not known or count > 1) then hold(record, 'image_host', now + C.image_hold_ms, now) end
end

-- Record an image that had to be generated again, because its URL was no longer served. Some in a row hold new calls.
local function regenerated(record, now)
  local count = redis.call('HINCRBY', keys.gate, 'regenerations', 1)
  if count >= C.regenerations_most then hold(record, 'image_host', now + C.image_hold_ms, now) end
end

-- Record an image that was downloaded and stored: neither storage nor an image host holds new calls any more.
local function stored(record, job)
  local host = string.match(job and job.answer or '', '"url":"https?://([^/"]+)')
  if host and record.fetched_host ~= string.lower(host) then
    redis.call('HSET', keys.gate, 'fetched_host', string.lower(host))
  end
  set_refused(record, job and job.id)
  local fields = {}
  for _, name in ipairs({
    'hold:storage',
    'probe:storage',
    'unstored',
    'hold:image_host',
    'probe:image_host',
    'unfetched',
    'image_host',
    'regenerations',
  }) do
    if record[name] then fields[#fields + 1] = name end
  end
  if #fields > 0 then redis.call('HDEL', keys.gate, unpack(fields)) end
end

-- Return whether a key may be used again soon: it is not removed, and if it was refused, the checks of dead keys may
-- still find that it works.
local function may_return(now, record, id)
  local dead = tonumber(record['dead:' .. id])
  return not record['removed:' .. id] and not (dead and now - dead > C.gone_probe_ms)
end

-- Record that the provider does not offer the model to this key. The model is gone if no other key is left that may
-- have it, also among those that only rest.
local function model_removed(record, key, model, now)
  redis.call('HSET', keys.gate, 'unoffered:' .. key.id .. ':' .. model, util.int(now))
  for name, line in pairs(record) do
    local id, seen = string.match(name, '^key:(.*)$'), tonumber(string.match(line, ' (%d+)$'))
    local is_other = id and id ~= key.id and gate.is_used(seen, now) and may_return(now, record, id)
    if is_other and gate.may_offer(now, record, { id = id }, model) then return end
  end
  redis.call('HSET', keys.gate, 'gone:' .. model, util.int(now))
end

-- Record a key that was refused. If a check has found it working since, and a call of the same model is refused
-- again, the key may not call this model. That holds the model, and the key serves others.
local function refused(record, key, model, now)
  if model ~= '' and record['revived:' .. key] == model then return open_circuit(record, 'model:' .. model, now) end
  redis.call('HSET', keys.gate, 'dead:' .. key, util.int(now), 'refused:' .. key, model)
end

-- Apply a signal: the result of one call, or one image, for the provider or for storage. A signal is a line of words:
--   healthy <key> <team> | failed <key> <team> | model_removed <key> <team>    what became of a call of the job's model
--   hold <reason>[:<subject>] <ms> [<credits needed> <credits left>]    the subject `model` is that of the job
--   key_dead <key> | key_alive <key>    stored | unfetched <host> | regenerated | none
function M.apply(signal, now, job)
  local word, a, b, needed, has = string.match(signal, '^(%S+) ?(%S*) ?(%S*) ?(%S*) ?(%S*)$')
  if word == 'none' then return end
  local record, model = util.read_hash(keys.gate) or {}, job and job.model or ''
  local key = { id = a, team = b }
  if word == 'healthy' then
    healthy(record, key, model)
  elseif word == 'failed' then
    failed(record, key, model, now)
  elseif word == 'model_removed' then
    healthy(record, key, model)
    model_removed(record, key, model, now)
  elseif word == 'hold' and a == 'storage' and job then
    unstored(record, job.id, now + b, now)
  elseif word == 'hold' then
    hold(record, string.match(a, ':model$') and a .. ':' .. model or a, now + b, now)
    local team = has ~= '' and string.match(a, '^provider_credits:team:(.*)$')
    if team then redis.call('HSET', keys.gate, 'credits:' .. team, needed .. ' ' .. has) end
  elseif word == 'key_dead' then
    refused(record, a, model, now)
  elseif word == 'key_alive' then
    redis.call('HDEL', keys.gate, 'dead:' .. a)
    if record['refused:' .. a] then redis.call('HSET', keys.gate, 'revived:' .. a, record['refused:' .. a]) end
  elseif word == 'stored' then
    stored(record, job)
  elseif word == 'unfetched' then
    unfetched(record, job.id, now, a)
  elseif word == 'regenerated' then
    regenerated(record, now)
  end
end

return M
