#!lua flags=no-writes
-- Reads jobs of a batch in the order in which they were asked for.
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
