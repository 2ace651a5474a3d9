#!lua flags=allow-oom
-- Remove batches from Redis whose last live job was deleted: those that are still as the history has them.
-- Returns 'ok'
local args, batches, clock = ... -- requires
local now = clock.now()
for i = 1, #args.counts, 2 do
  local id = args.counts[i]
  if not batches.has_live_jobs(id) and batches.final_counts(id) == args.counts[i + 1] then batches.remove(id, now) end
end
return 'ok'
