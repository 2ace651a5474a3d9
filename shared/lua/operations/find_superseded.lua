#!lua flags=no-writes
-- Find which jobs and batches, as read from the history, do not count: they are in Redis, or deleted.
-- Returns their ids
local args, keys = ... -- requires
local found = {}
for _, id in ipairs(args.ids) do
  local key = string.match(id, '^batch_') and keys.batch(id) or keys.job(id)
  if redis.call('EXISTS', key) == 1 or redis.call('ZSCORE', keys.history_deletions, id) then found[#found + 1] = id end
end
return found
