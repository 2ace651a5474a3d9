#!lua flags=allow-oom
-- End a job whose image is stored. With a nonce, also claim the next job, which is no isolated one.
-- Returns 'ok' | 'lost'; with a nonce { that, and what job_claims.claim returns }
local args, clock, job_claims, jobs, keys, result_cache, signals = ... -- requires

local function succeed()
  local job, word = jobs.load_fenced(args.id, args.fence, 'succeed')
  if not job then return word end
  local now = clock.now()
  signals.apply('stored', now, job)
  if args.request_hash ~= '' then result_cache.put(job, args.request_hash) end
  -- the URL in the answer is a secret that is no longer needed
  redis.call('HDEL', keys.job(args.id), 'answer', 'object', 'call_key')
  jobs.finish(
    job,
    'succeeded',
    now,
    { 'image', args.image, 't_download', args.download_seconds, 't_store', args.store_seconds }
  )
  return 'ok'
end

local word = succeed()
if args.nonce == '' then return word end
return { word, job_claims.claim(args.nonce, args.lease_ms, args.keys, false) }
