----------------------------------------------------------------------------------------------
-- A new job.
----------------------------------------------------------------------------------------------

-- Writes a job that nothing speaks against: record, indexes, deadline, event, and its place and
-- permit. `asked` has id, tenant, priority, max_attempts, spec, on_unknown, model, credits (of one
-- call), deadline (ms from now), and where it has them webhook_host, webhook_events, trace and tags. Where
-- a picture was copied for it, it has reused_from, image and known_by (what an identical request is
-- known by), and is born final: there is nothing left to do for it.
function dr.accept(asked, now)
  local id, tenant, deadline = asked.id, asked.tenant, now + asked.deadline
  local job = {
    id = id, tenant = tenant, created = now, priority = asked.priority, attempt = '0', run = '1',
    webhook_events = asked.webhook_events, webhook_host = asked.webhook_host, model = asked.model,
  }
  local fields = {
    'tenant', tenant, 'created', dr.int(now), 'deadline', dr.int(deadline), 'run', 1, 'fence', 0,
    'max_attempts', asked.max_attempts, 'priority', asked.priority, 'spec', asked.spec,
    'on_unknown', asked.on_unknown, 'model', asked.model,
  }
  local function add(name, value)
    if value then fields[#fields + 1], fields[#fields + 2] = name, value end
  end
  if not asked.reused_from and tonumber(asked.credits) > 0 then
    add('credits', asked.credits)
    add('reserved_credits', asked.credits)
  end
  for _, name in ipairs({ 'webhook_host', 'webhook_events', 'image', 'reused_from', 'trace' }) do
    add(name, asked[name])
  end
  redis.call('ZADD', dr.index_key(tenant), 0, id)
  for _, tag in ipairs(asked.tags or {}) do
    redis.call('ZADD', dr.index_key(tenant, 'tag', tag), 0, id)
  end
  if asked.reused_from then
    dr.cache_result(job, asked.known_by)
    dr.finish(job, 'succeeded', now, dr.omit_defaults(fields))
    return
  end
  redis.call('ZADD', '{dr}:deadlines', deadline, id)
  dr.transition(job, 'queued', now, dr.omit_defaults(fields))
  dr.make_ready(job)
end
