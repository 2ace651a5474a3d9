#!lua flags=allow-oom
-- Delete a final job of a tenant ('*' for any) and schedule its image for deletion.
-- Returns 'ok' | 'missing' | 'state' status
local args, clock, jobs, keys, util = ... -- requires
local job = jobs.load(args.id)
if not job or (args.tenant ~= '*' and job.tenant ~= args.tenant) then
  return { redis.call('GET', keys.deleted(args.id)) == args.token and 'ok' or 'missing' }
end
if not util.has_word(job.state, C.final) then return { 'state', jobs.status(job.state) } end
jobs.delete(job, clock.now())
redis.call('SET', keys.deleted(args.id), args.token, 'PX', 60000)
return { 'ok' }
