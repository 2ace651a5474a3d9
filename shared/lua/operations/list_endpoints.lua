#!lua flags=no-writes
-- List a tenant's endpoints, newest first, or read one.
-- Returns { time, id to go on below ('' at the end), { id, parked, record... }, ... }
local args, keys, util = ... -- requires
local most, reply = tonumber(args.limit), { '', '' }
local ids = { args.id }
if args.id == '' then
  local from = args.before_ms ~= '' and args.before_ms or '+inf'
  -- endpoints with the time of the last page's end come again: few, since each is a new URL
  ids = redis.call('ZRANGE', keys.endpoints(args.tenant), from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most + 200)
end
for i, id in ipairs(ids) do
  local record = util.read_hash(keys.endpoint(id))
  local below = args.before_ms == ''
    or (record and (tonumber(record.created) < tonumber(args.before_ms) or id < args.before_id))
  if record and record.tenant == args.tenant and below then
    local flat = { id, redis.call('ZCARD', keys.parked(id)) }
    record.webhook_secret = record.webhook_secret and '1'
    record.webhook_old = nil
    util.append_fields(flat, record)
    reply[#reply + 1] = flat
    if #reply == most + 2 then
      if i < #ids then
        reply[1], reply[2] = record.created, id
      end
      return reply
    end
  end
end
return reply
