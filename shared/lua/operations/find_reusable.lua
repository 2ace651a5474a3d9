#!lua
-- Find the image of an identical request, and schedule the deletion of the object key to which it will be copied. A
-- copy that no job comes to own is then deleted, whatever fails; the accept that creates the job cancels the
-- deletion.
-- Returns {} if there is none or the accept will be refused or replayed, else { id, image (JSON),
--       key of the copy }
local args, admission, clock, keys, limits, result_cache = ... -- requires
local tenant, now = args.tenant, clock.now()
if
  keys.idempotency(args.tenant, args.idempotency_key) ~= ''
  and redis.call('EXISTS', keys.idempotency(args.tenant, args.idempotency_key)) == 1
then
  return {}
end
local source, image = result_cache.find(tenant, args.request_hash)
if not source and args.archived_id ~= '' then
  source, image = args.archived_id, args.archived_image
end
if not source then return {} end
local ask = {
  tenant = tenant,
  may = limits.load(tenant, args.api_key),
  now = now,
  n = 0,
  requests = 1,
  credits = 0,
  free = true,
  rank = now,
  deadline = 0,
}
if admission.check(ask) then return {} end
local copy = args.object_name .. string.match(cjson.decode(image).key, '%.%w+$')
redis.call('ZADD', keys.object_deletions, now + C.object_deletion_delay_ms, copy)
return { source, image, copy }
