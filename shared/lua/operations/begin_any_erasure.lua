#!lua
-- Record an operator's request to delete many jobs, of a tenant or of all.
-- Returns 'ok'
local args, audit, erasures = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
erasures.create({ id = args.id, tenant = args.tenant, filter = args.filter, found = args.found }, 0)
local detail = '{"filter":' .. args.audited_filter .. ',"found":' .. args.found .. ',"erasure":"' .. args.id .. '"}'
return audit.record(args, 'jobs.delete', args.tenant ~= '' and args.tenant or '*', detail, { 'ok' })[1]
