#!lua
-- Record a tenant's request to delete many jobs.
local args, erasures = ... -- requires
erasures.create(args, false, 0)
return 'ok'
