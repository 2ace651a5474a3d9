#!lua flags=no-writes
-- Read one job, and what is needed to say why it waits.
-- Returns {} if there is no such job of this tenant, else { rank, reason, eta, { record... } }, the
--       first three as wait_estimate.position has them
local args, clock, jobs, wait_estimate = ... -- requires
local job, flat = jobs.read(args.id)
if not job or (args.tenant ~= '' and job.tenant ~= args.tenant) then return {} end
local rank, reason, eta = wait_estimate.position(args.id, job, clock.now(), {})
return { rank, reason, eta, flat }
