-- Fallback models: other models that may serve a job. `models` of such a job's record lists all of its models, the
-- requested one first; `model`, `spec` and `credits` are of the one that serves it, and `alternative:<model>` has
-- credits and spec of each other. Queued jobs that may still change their model are in `fallback_jobs:<model>`, so that
-- nothing has to be searched when a model becomes unavailable. Its members are `models|id`: jobs with the same choice
-- are one range.
local gate, keys, util = ... -- requires

local M = {}

-- Return why a model cannot be expected to serve waiting jobs; nil if it can, or fails only since lately.
local function unavailable(now, record, model)
  if record['paused:model:' .. model] then return 'paused' end
  if gate.gone_for(now, record, model) then return 'removed' end
  local since = tonumber(record['failing_since:' .. model])
  local is_held = since and gate.held_for(record, 'provider_down:model:' .. model, now)
  return is_held and now - since >= C.fallback_after_ms and 'failing' or nil
end

-- Return the model that serves a job with these models, which waits for `model`: that one while it is available, then
-- the first that is. If none is, the job waits where it is, or for the first that is not removed.
function M.choose(now, record, models, model)
  local why = unavailable(now, record, model)
  if not why then return model end
  local waits = why ~= 'removed' and model or nil
  for other in string.gmatch(models, '%S+') do
    local reason = unavailable(now, record, other)
    if not reason then return other end
    if reason ~= 'removed' then waits = waits or other end
  end
  return waits or model
end

-- Return the fallbacks of a new job as a list of model, credits, spec; `lines` has one a line.
local function parse(lines)
  local found = {}
  for line in string.gmatch(lines, '[^\n]+') do
    local model, credits, spec = string.match(line, '^(%S+) (%S+) (.*)$')
    found[#found + 1] = { model = model, credits = credits, spec = spec }
  end
  return found
end

-- Return all models of a new job, separated by spaces, and the credits of the most expensive one, which are reserved.
-- Models are nil without fallbacks, which are lines as `parse` reads them.
function M.of_new(model, credits, fallbacks)
  if not fallbacks or fallbacks == '' then return nil, credits end
  local names, most = { model }, credits
  for _, one in ipairs(parse(fallbacks)) do
    names[#names + 1] = one.model
    if tonumber(one.credits) > tonumber(most) then most = one.credits end
  end
  return table.concat(names, ' '), most
end

-- Return the fields of a new record that depend on the model that serves it (nil: the requested one). `new` has model,
-- spec and credits of the requested one, and the lines of `fallbacks`.
function M.fields(new, model)
  local fields = { model = new.model, spec = new.spec, credits = new.credits }
  fields.models = M.of_new(new.model, new.credits, new.fallbacks)
  for _, one in ipairs(fields.models and parse(new.fallbacks) or {}) do
    if one.model == model then
      fields['alternative:' .. new.model] = new.credits .. ' ' .. new.spec
      fields.model, fields.spec, fields.credits = model, one.spec, one.credits
    else
      fields['alternative:' .. one.model] = one.credits .. ' ' .. one.spec
    end
  end
  if tonumber(fields.credits) == 0 then fields.credits = nil end
  return fields
end

-- Return the credits of the most expensive model of a job.
function M.most_credits(job)
  local key = keys.job(job.id)
  local most = tonumber(redis.call('HGET', key, 'credits')) or 0
  for model in string.gmatch(job.models or '', '%S+') do
    local other = redis.call('HGET', key, 'alternative:' .. model)
    if other then most = math.max(most, tonumber(string.match(other, '^%S+'))) end
  end
  return most
end

-- Change the model that serves a job, with everything that depends on it.
function M.exchange(job, model)
  local key = keys.job(job.id)
  local known = redis.call('HMGET', key, 'credits', 'spec', 'alternative:' .. model)
  local credits, spec = string.match(known[3], '^(%S+) (.*)$')
  redis.call('HSET', key, 'alternative:' .. job.model, (known[1] or '0') .. ' ' .. known[2])
  redis.call('HSET', key, 'model', model, 'spec', spec, 'credits', credits)
  redis.call('HDEL', key, 'alternative:' .. model)
  job.model, job.credits = model, credits
end

-- Delete what the other models of a job would need, once no other can serve it.
function M.discard(job)
  for model in string.gmatch(job.models or '', '%S+') do
    redis.call('HDEL', keys.job(job.id), 'alternative:' .. model)
  end
end

-- Record that a job may not change its model.
function M.untrack(job)
  if job.models then redis.call('ZREM', keys.fallback_jobs(job.model), job.models .. '|' .. job.id) end
end

-- Record whether a job may change its model: it is queued, and no call is paid or has an outcome to look up.
function M.track(job, state)
  if not job.models then return end
  if state ~= 'queued' or job.answer or job.pending then return M.untrack(job) end
  redis.call('ZADD', keys.fallback_jobs(job.model), 0, job.models .. '|' .. job.id)
end

-- Return the models that may be unavailable and for which jobs with fallbacks wait.
local function models_to_check(record)
  local found = {}
  for name in pairs(record) do
    local model = string.match(name, '^paused:model:(.*)$')
      or string.match(name, '^gone:(.*)$')
      or string.match(name, '^failing_since:(.*)$')
    if model and not found[model] and redis.call('EXISTS', keys.fallback_jobs(model)) == 1 then found[model] = true end
  end
  return found
end

-- Call `change` with up to `most` waiting jobs whose model is unavailable, and with the model that serves them now;
-- return how many there were. Each choice of models is one step, whether its jobs have to stay or not.
function M.each_to_change(now, most, change)
  local record, left = util.read_hash(keys.gate) or {}, most
  for model in pairs(models_to_check(record)) do
    local key, from, steps = keys.fallback_jobs(model), '-', most
    while left > 0 and steps > 0 do
      local first = redis.call('ZRANGE', key, from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
      if not first then break end
      local models = string.match(first, '^[^|]*')
      local after, other = '(' .. models .. '}', M.choose(now, record, models, model)
      local members = other ~= model and redis.call('ZRANGE', key, '[' .. first, after, 'BYLEX', 'LIMIT', 0, left) or {}
      for _, member in ipairs(members) do
        redis.call('ZREM', key, member)
        change(string.match(member, '[^|]*$'), other)
      end
      left, steps = left - #members, steps - 1
      if #members == 0 then from = after end
    end
  end
  return most - left
end

return M
