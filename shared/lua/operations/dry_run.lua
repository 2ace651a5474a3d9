#!lua flags=no-writes
-- Return what would become of a job, and write nothing.
-- Returns { refusal ('' none), detail, wait, position, eta (ms, -1 not known), reason,
--         id of the job whose image would be reused ('' none), rate... }
local args, admission, clock, fallbacks, limits, result_cache = ... -- requires
local tenant, now = args.tenant, clock.now()
local source = args.request_hash ~= '' and result_cache.find(tenant, args.request_hash)
if not source and args.archived_id ~= '' then source = args.archived_id end
local models, most_credits = fallbacks.of_new(args.model, args.credits, args.fallbacks)
local ask = {
  tenant = tenant,
  may = limits.load(tenant, args.api_key),
  now = now,
  n = source and 0 or 1,
  requests = 1,
  credits = source and 0 or tonumber(most_credits),
  free = source,
  rank = now + C.priority_offset_ms[args.priority],
  deadline = tonumber(args.deadline_ms),
  model = args.model,
  models = not source and models or nil,
  max_position = tonumber(args.max_position),
  max_wait = tonumber(args.max_wait_ms),
}
local fault, position, eta, wait_state = admission.check(ask)
fault = fault or { '', '', '' }
local reply = { fault[1], fault[2], fault[3], position, eta or -1, wait_state.reason, source or '' }
return admission.with_rate(reply, ask)
