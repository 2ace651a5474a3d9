#!lua flags=no-writes
-- Read jobs of a batch in the order of its entries.
-- Returns { { id, record... }, ... }
local args, jobs, keys, util = ... -- requires
local reply = {}
for _, id in
  ipairs(
    redis.call('ZRANGE', keys.jobs_by(args.tenant, 'batch', args.id), args.lower, '+', 'BYLEX', 'LIMIT', 0, args.limit)
  )
do
  local flat = { id }
  util.append_fields(flat, jobs.read(id) or {})
  reply[#reply + 1] = flat
end
return reply
