#!lua flags=allow-oom
-- Erase the tags in the usage of a deleted tenant on some days; the sums stay. The history follows.
-- Returns 'ok'
local args, clock, credits, keys, run_counts, util = ... -- requires
for _, day in ipairs(args.days) do
  credits.erase_tags(args.tenant, day)
  run_counts.erase_tags(args.tenant, day)
end
if C.archive_after_ms > 0 then redis.call('ZADD', keys.history_tenant_deletions, util.int(clock.now()), args.tenant) end
return 'ok'
