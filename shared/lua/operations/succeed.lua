#!lua flags=allow-oom
-- End a job whose image is stored.
-- Returns 'ok' | 'lost'
local args, clock, jobs, keys, result_cache, signals = ... -- requires
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
