#!lua flags=no-writes
-- Read one committed batch.
-- Returns {} if there is no such batch of this tenant, else { now, record... }
local args, clock, keys, util = ... -- requires
local batch = util.read_hash(keys.batch(args.id))
if not batch or not batch.committed then return {} end
if args.tenant ~= '*' and batch.tenant ~= args.tenant then return {} end
return util.append_fields({ util.int(clock.now()) }, batch)
