#!lua
-- Record a tenant's request to delete many jobs.
local args, erasures = ... -- requires
erasures.create({ id = args.id, tenant = args.tenant, filter = args.filter, found = args.found }, 0)
return 'ok'
