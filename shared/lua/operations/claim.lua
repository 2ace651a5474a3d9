#!lua flags=allow-oom
-- Claim the next job. Returns what job_claims.claim returns.
local args, job_claims = ... -- requires
return job_claims.claim(args.nonce, args.lease_ms, args.keys, args.allow_isolated == '1')
