#!lua flags=no-writes
-- List deliveries, newest first: of a tenant, of all tenants, or of one job.
-- Returns { time, id to go on below ('' at the end), { id, url, record... }, ... }; of the log only
--       the last attempt
local args, keys, outbox, util = ... -- requires
local owner = args.job_id ~= '' and redis.call('HGET', keys.job(args.job_id), 'tenant') or args.tenant
local by_failure = args.state == 'failed' and args.job_id == ''
local index = by_failure and keys.failed_deliveries(owner) or keys.deliveries(owner)
local most, looked = tonumber(args.limit), tonumber(args.scan_limit)

-- Return the deliveries of the job, in the order of the index.
local function of_job()
  if args.tenant ~= '' and owner ~= args.tenant then return {} end
  local ids, created = outbox.for_subject(args.job_id, keys.job(args.job_id)), {}
  for _, id in ipairs(ids) do
    created[id] = tonumber(redis.call('ZSCORE', index, id)) or 0
  end
  table.sort(ids, function(one, other)
    if created[one] ~= created[other] then return created[one] > created[other] end
    return one > other
  end)
  return ids
end

-- Return the candidate ids, and whether there may be more.
local function candidates()
  if args.job_id ~= '' then return of_job(), false end
  local from = args.before_ms ~= '' and args.before_ms or '+inf'
  local ids = redis.call('ZRANGE', index, from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, looked)
  return ids, #ids == looked
end

local ids, more = candidates()
local reply = { '', '' }
-- Deliveries with the time of the last page's end come again; those already returned are skipped.
local passed = args.before_ms == ''
local function is_below(id)
  if passed then return true end
  local at = redis.call('ZSCORE', index, id)
  passed = at and tonumber(at) < tonumber(args.before_ms) or false
  return passed or id < args.before_id
end

local function stop_at(id)
  reply[1], reply[2] = redis.call('ZSCORE', index, id) or '', id
  return reply
end

local function fits(record)
  return (args.state == '' or record.state == args.state) and (args.host == '' or record.host == args.host)
end

for i, id in ipairs(ids) do
  local record = is_below(id) and util.read_hash(keys.delivery(id))
  if record and fits(record) then
    local url = redis.call('HGET', keys.endpoint(record.endpoint), 'url') or ''
    local flat = { id, url .. (record.query or '') }
    record.snapshot, record.webhook = nil, nil
    record.log = record.log and string.match(record.log, '[^\n]*$')
    util.append_fields(flat, record)
    reply[#reply + 1] = flat
    if #reply == most + 2 then
      if i < #ids or more then return stop_at(id) end
      return reply
    end
  end
end
if more then return stop_at(ids[#ids]) end
return reply
