----------------------------------------------------------------------------------------------
-- The provider's gate: whether a new call may be made now, of which model and with which key. What goes wrong
-- with one key or one model holds that key or model alone; the queue waits only when nothing can move.
-- One hash, {dr}:gate. A subject is `key:<id>`, `team:<name>` (keys that share credits) or `model:<id>`.
--   paused:generate, paused:deliver, paused:model:<id>   since when
--   hold:<reason>[:<subject>]    until when no new call is made; probe:<same> while the one that tries again is out
--   fails:<subject>  failed calls in a row    with:<subject>  the keys (of a model: or models) they were made with
--   budget:<subject> failed calls that are left    trips:<subject>  times its circuit opened in a row
--   tat:<key>        when the key may be used next by its rate (GCRA), and so which has rested longest
--   dead:<key>       since when the provider refuses the key
--   refused:<key>    the model whose call was refused last    revived:<key>  the same, once a check found the key alive
--   gone:<model>     when the provider last said that it does not offer the model
--   credits:<team>   credits that a call needs, and that the team has
--   unfetched        up to three jobs whose images could not be fetched since one last could
--   image_host       the host that images could not be fetched from    fetched_host  the host of the last one stored
--   regenerations  images made again in a row
--   no_key           why the last claim found no usable key, and until when that is believed
----------------------------------------------------------------------------------------------

-- Holds of everything; those of a key, and the one of its team.
local GLOBAL_HOLDS = { 'storage', 'image_host' }
local KEY_HOLDS = { 'provider_rate', 'provider_down' }
-- So long after a claim that had no usable key it still counts that there is none: claims that wait
-- are made again every second.
local NO_KEY_MS = 5000
-- A key that was not used for so long is not in any worker's pool any more.
local KEY_UNUSED_MS = 3600000

-- For how many milliseconds more a hold lasts; nil where there is none. One that ends later than any is set for
-- was set before the clock was put back.
local function held_for(gate, name, now)
  local left = (tonumber(gate['hold:' .. name]) or 0) - now
  return left > 0 and left <= C.hold_most_ms and left or nil
end

-- What holds all new calls, and for how many milliseconds; '' where nothing does.
function dr.closed(now, gate)
  if gate['paused:generate'] then return 'paused', 1000 end
  for _, reason in ipairs(GLOBAL_HOLDS) do
    local left = held_for(gate, reason, now)
    if left then return reason, left end
  end
  return '', 0
end

-- For how many milliseconds the provider's word that it does not offer a model still counts; nil where it does
-- not: then one call may ask again.
function dr.gone_for(now, gate, model)
  local since = tonumber(gate['gone:' .. model])
  local left = since and since + C.gone_probe_ms - now
  return left and left > 0 and left <= C.gone_probe_ms and left or nil
end

-- What holds new calls of a model, and for how many milliseconds; '' where nothing does.
function dr.model_closed(now, gate, model)
  if gate['paused:model:' .. model] then return 'paused', 1000 end
  local left = held_for(gate, 'provider_down:model:' .. model, now)
  if left then return 'provider_down', left end
  left = dr.gone_for(now, gate, model)
  if left then return 'model_unavailable', left end
  return '', 0
end

-- What holds a key, and for how many milliseconds; '' where nothing does. `tat` as dr.key_tat has it.
local function key_closed(now, gate, key, tat)
  if gate['dead:' .. key.id] then return 'provider_auth', 1000 end
  local left = held_for(gate, 'provider_credits:team:' .. key.team, now)
  if left then return 'provider_credits', left end
  for _, reason in ipairs(KEY_HOLDS) do
    left = held_for(gate, reason .. ':key:' .. key.id, now)
    if left then return reason, left end
  end
  local early = tat - C.rate_burst * C.rate_interval_ms - now
  if early > 0 then return 'provider_rate', math.ceil(early) end
  return '', 0
end

-- When a key may be used next by its rate. One further on than the rate takes it was written before the clock
-- was put back.
local function key_tat(now, gate, key)
  local tat = tonumber(gate['tat:' .. key.id]) or 0
  local most = now + (C.rate_burst + 1) * C.rate_interval_ms + 1000
  return tat <= most and tat or 0
end

-- The usable key that has rested longest, other than `avoided` where there is another; else nil, why there is
-- none and for how many milliseconds. `keys` have id and team.
function dr.choose_key(now, gate, keys, avoided)
  local best, reason, wait
  for _, key in ipairs(keys) do
    local tat = key_tat(now, gate, key)
    local why, left = key_closed(now, gate, key, tat)
    if why == '' then
      local rested = tat + (key.id == avoided and 10 ^ 15 or 0)
      if not best or rested < best.rested then best = { id = key.id, team = key.team, tat = tat, rested = rested } end
    elseif not wait or left < wait then
      reason, wait = why, left
    end
  end
  if best then return best end
  return nil, reason or 'provider_auth', wait or 1000
end

-- Remembers that a claim found no usable key: only who claims knows the keys, and whoever reads a job learns it
-- here. That a key will be free within the second is no news.
function dr.record_no_key(now, reason, wait)
  if wait <= 1000 and reason == 'provider_rate' then return end
  redis.call('HSET', '{dr}:gate', 'no_key', reason .. ' ' .. dr.int(now + NO_KEY_MS))
end

-- Why no new call of a model is made, for whoever reads a job; '' where one may be.
function dr.why_closed(now, model, gate)
  gate = gate or dr.hash('{dr}:gate') or {}
  local reason = dr.closed(now, gate)
  if reason == '' and model then reason = dr.model_closed(now, gate, model) end
  if reason ~= '' then return reason end
  local why, ends = string.match(gate.no_key or '', '^(%S+) (%d+)$')
  local left = (tonumber(ends) or 0) - now
  return left > 0 and left <= NO_KEY_MS and why or ''
end

-- Whether a permit would find a job to claim, as far as can be told without the keys: something is paid or isolated,
-- or a model that may be called has something ready.
function dr.can_claim(now)
  if redis.call('EXISTS', dr.jobs.paid, dr.jobs.isolated) > 0 then return true end
  local gate = dr.hash('{dr}:gate') or {}
  for _, model in ipairs(redis.call('SMEMBERS', dr.jobs.lanes)) do
    if dr.why_closed(now, model, gate) == '' and redis.call('EXISTS', dr.jobs.active .. model) == 1 then return true end
  end
  return false
end

-- Writes what a claim takes of the gate: the key's next time, and for each hold whose time is over that this call
-- is its probe, for which the rest wait a while.
function dr.charge_gate(now, gate, key, model, pool)
  local writes = {}
  local function write(name, value) writes[#writes + 1], writes[#writes + 2] = name, value end
  local function probe(name)
    if not gate['hold:' .. name] then return end
    write('hold:' .. name, dr.int(now + C.probe_ms))
    write('probe:' .. name, '1')
  end
  for _, reason in ipairs(GLOBAL_HOLDS) do probe(reason) end
  for _, reason in ipairs(KEY_HOLDS) do probe(reason .. ':key:' .. key.id) end
  probe('provider_credits:team:' .. key.team)
  probe('provider_down:model:' .. model)
  if gate['gone:' .. model] then write('gone:' .. model, dr.int(now)) end
  if gate.no_key then redis.call('HDEL', '{dr}:gate', 'no_key') end
  if C.rate_interval_ms > 0 or pool > 1 then
    -- not in whole milliseconds: the rest would add up
    write('tat:' .. key.id, string.format('%.3f', math.max(key.tat, now) + C.rate_interval_ms))
  end
  if #writes > 0 then redis.call('HSET', '{dr}:gate', unpack(writes)) end
end

-- Holds new calls until a time. It is never shortened, but by what a probe has found.
local function hold(gate, name, ends, now)
  local left = held_for(gate, name, now)
  if left and not gate['probe:' .. name] and now + left > ends then return end
  redis.call('HSET', '{dr}:gate', 'hold:' .. name, dr.int(ends))
  redis.call('HDEL', '{dr}:gate', 'probe:' .. name)
end

-- Opens the circuit of a subject: once for all the calls that were out then, again when a probe fails.
local function trip(gate, subject, now)
  local name = 'provider_down:' .. subject
  if held_for(gate, name, now) and not gate['probe:' .. name] then return end
  local trips = math.min(redis.call('HINCRBY', '{dr}:gate', 'trips:' .. subject, 1), 6)
  hold(gate, name, now + 500 * 2 ^ trips, now)
end

-- A call that went well shows that its key and its model are well; but that the key is not too fast any more, or
-- its team has credits again, only where the call began after the hold did, which the probe alone can have done.
-- A model that was gone is offered again.
local function healthy(gate, key, model)
  local fields = {}
  local function clear(name)
    if gate[name] then fields[#fields + 1] = name end
  end
  local function free(name)
    clear('hold:' .. name)
    clear('probe:' .. name)
  end
  for _, subject in ipairs({ 'key:' .. key.id, 'model:' .. model }) do
    for _, name in ipairs({ 'fails:', 'with:', 'trips:' }) do clear(name .. subject) end
    free('provider_down:' .. subject)
    local budget = tonumber(gate['budget:' .. subject])
    if budget and budget + C.retry_share < C.retry_budget then
      redis.call('HSET', '{dr}:gate', 'budget:' .. subject, string.format('%.2f', budget + C.retry_share))
    else
      clear('budget:' .. subject)
    end
  end
  clear('gone:' .. model)
  for _, name in ipairs({ 'refused:', 'revived:' }) do
    if gate[name .. key.id] == model then clear(name .. key.id) end
  end
  for _, name in ipairs({ 'provider_rate:key:' .. key.id, 'provider_credits:team:' .. key.team }) do
    if gate['probe:' .. name] then free(name) end
  end
  if not gate['hold:provider_credits:team:' .. key.team] or gate['probe:provider_credits:team:' .. key.team] then
    clear('credits:' .. key.team)
  end
  if #fields > 0 then redis.call('HDEL', '{dr}:gate', unpack(fields)) end
end

-- Counts a failed call against a subject, with what it was made with; says how often it has failed in a row,
-- with how many different ones, and what is left of its budget.
local function count_failure(gate, subject, other)
  local fails = redis.call('HINCRBY', '{dr}:gate', 'fails:' .. subject, 1)
  local budget = math.max((tonumber(gate['budget:' .. subject]) or C.retry_budget) - 1, 0)
  local others = gate['with:' .. subject] or ''
  if not dr.has_word(other, others) then others = others == '' and other or others .. ' ' .. other end
  local _, spaces = string.gsub(others, ' ', '')
  redis.call('HSET', '{dr}:gate', 'budget:' .. subject, string.format('%.2f', budget), 'with:' .. subject, others)
  return fails >= C.circuit_failures or budget == 0, spaces + 1
end

-- Whether there is another usable key beside this one, among those that were used lately.
local function has_other_key(now, gate, key)
  for name, at in pairs(gate) do
    local id = string.match(name, '^tat:(.*)$')
    if id and id ~= key.id and now - at < KEY_UNUSED_MS and not gate['dead:' .. id]
      and not held_for(gate, 'provider_down:key:' .. id, now) then
      return true
    end
  end
  return false
end

-- A call that failed. What opens a circuit is some failures in a row, or failed calls having used up their
-- budget, which those that go well fill again. Whose circuit: the model's, where it failed with different keys
-- or there is one only; else the key's, while another key can do its work.
local function failed(gate, key, model, now)
  local key_subject, model_subject = 'key:' .. key.id, 'model:' .. model
  local key_fails = count_failure(gate, key_subject, model)
  local model_fails, keys = count_failure(gate, model_subject, key.id)
  local other = has_other_key(now, gate, key)
  if keys > 1 or not other then
    if model_fails then trip(gate, model_subject, now) end
  elseif key_fails then
    trip(gate, key_subject, now)
  end
end

-- An image that could not be fetched. One job alone holds new calls for a while and once; when others meet the
-- same, they hold for as long as any of them does. Where images come from another host now, one or two jobs are
-- an exception, and hold nothing.
local function unfetched(gate, job, now, host)
  local jobs = gate.unfetched or ''
  local known = dr.has_word(job, jobs)
  local _, count = string.gsub(jobs, '%S+', '')
  if not known and count < 3 then jobs, count = jobs == '' and job or jobs .. ' ' .. job, count + 1 end
  redis.call('HSET', '{dr}:gate', 'unfetched', jobs, 'image_host', host)
  local is_exception = count < 3 and gate.fetched_host and gate.fetched_host ~= host
  if not is_exception and (not known or count > 1) then hold(gate, 'image_host', now + C.image_hold_ms, now) end
end

-- An image that had to be made again, because its URL was no longer served. Some in a row hold new calls.
local function regenerated(gate, now)
  local count = redis.call('HINCRBY', '{dr}:gate', 'regenerations', 1)
  if count >= C.regenerations_most then hold(gate, 'image_host', now + C.image_hold_ms, now) end
end

-- An image was fetched and stored: neither the storage nor an image host holds new calls any more.
local function stored(gate, answer)
  local host = string.match(answer or '', '"url":"https?://([^/"]+)')
  if host and gate.fetched_host ~= string.lower(host) then
    redis.call('HSET', '{dr}:gate', 'fetched_host', string.lower(host))
  end
  local fields = {}
  for _, name in ipairs({ 'hold:storage', 'probe:storage', 'hold:image_host', 'probe:image_host', 'unfetched',
    'image_host', 'regenerations' }) do
    if gate[name] then fields[#fields + 1] = name end
  end
  if #fields > 0 then redis.call('HDEL', '{dr}:gate', unpack(fields)) end
end

-- A key that was refused. Where a check has found it alive since, and a call of the same model is refused again,
-- the key may not call this model: that holds the model, and the key serves others.
local function refused(gate, key, model, now)
  if model ~= '' and gate['revived:' .. key] == model then return trip(gate, 'model:' .. model, now) end
  redis.call('HSET', '{dr}:gate', 'dead:' .. key, dr.int(now), 'refused:' .. key, model)
end

-- Applies a signal: what one call, or one image, taught about the provider or the storage. A signal is words:
--   healthy <key> <team> | failed <key> <team> | model_removed <key> <team>    what became of a call of the job's model
--   hold <reason>[:<subject>] <ms> [<credits needed> <credits left>]    the subject `model` is that of the job
--   key_dead <key> | key_alive <key>    stored | unfetched <host> | regenerated | none
function dr.apply_signal(signal, now, job)
  local word, a, b, needed, has = string.match(signal, '^(%S+) ?(%S*) ?(%S*) ?(%S*) ?(%S*)$')
  if word == 'none' then return end
  local gate, model = dr.hash('{dr}:gate') or {}, job and job.model or ''
  local key = { id = a, team = b }
  if word == 'healthy' then
    healthy(gate, key, model)
  elseif word == 'failed' then
    failed(gate, key, model, now)
  elseif word == 'model_removed' then
    healthy(gate, key, model)
    redis.call('HSET', '{dr}:gate', 'gone:' .. model, dr.int(now))
  elseif word == 'hold' then
    hold(gate, string.match(a, ':model$') and a .. ':' .. model or a, now + b, now)
    local team = has ~= '' and string.match(a, '^provider_credits:team:(.*)$')
    if team then redis.call('HSET', '{dr}:gate', 'credits:' .. team, needed .. ' ' .. has) end
  elseif word == 'key_dead' then
    refused(gate, a, model, now)
  elseif word == 'key_alive' then
    redis.call('HDEL', '{dr}:gate', 'dead:' .. a)
    if gate['refused:' .. a] then redis.call('HSET', '{dr}:gate', 'revived:' .. a, gate['refused:' .. a]) end
  elseif word == 'stored' then
    stored(gate, job and job.answer)
  elseif word == 'unfetched' then
    unfetched(gate, job.id, now, a)
  elseif word == 'regenerated' then
    regenerated(gate, now)
  end
end

----------------------------------------------------------------------------------------------
-- A clock that was put back: what was to happen at a time happens as long after now as it would have.
----------------------------------------------------------------------------------------------

-- Moves all scores of a sorted set that lie in the future back by so many milliseconds.
local function shift(key, by, now)
  local later = redis.call('ZRANGE', key, '(' .. dr.int(now), '+inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #later, 2 do redis.call('ZADD', key, 'XX', dr.int(math.max(later[i + 1] - by, 0)), later[i]) end
end

-- Moves all that is kept of the future, but deadlines and retention, back by so many milliseconds. `workers` has
-- until when each worker counts as living.
function dr.step_back(by, workers)
  local now = dr.now()
  for name, value in pairs(dr.hash('{dr}:gate') or {}) do
    if string.find(name, '^hold:') or string.find(name, '^tat:') or string.find(name, '^gone:') then
      redis.call('HSET', '{dr}:gate', name, dr.int(math.max(value - by, 0)))
    end
  end
  for worker, line in pairs(dr.hash(workers) or {}) do
    local ends, rest = string.match(line, '^(%d+)( .*)$')
    redis.call('HSET', workers, worker, dr.int(ends - by) .. rest)
  end
  for _, q in ipairs({ dr.jobs, dr.deliveries }) do
    for _, key in ipairs({ q.leases, q.due, q.budget_blocked }) do shift(key, by, now) end
  end
  for _, key in ipairs({ '{dr}:batch_work', '{dr}:endpoint_probes', '{dr}:endpoint_backlogs' }) do shift(key, by, now) end
end
