#!lua flags=allow-oom
-- Claim the next delivery. Returns what delivery_claims.claim returns.
local args, delivery_claims = ... -- requires
return delivery_claims.claim(args.nonce, args.lease_ms)
