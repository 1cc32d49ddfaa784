-- Begin a job, or let this upload carry on the one under the same key. Who carried it on before may add nothing more.
-- -> {job_id, now, {field, value, …}}
local now, id, key = clock(), job_id, job
if has_key == '1' then
  local taken = redis.call('GET', idempotency)
  if taken then id, key = taken, prefix .. 'job:' .. taken end
  redis.call('SET', idempotency, id, 'EX', idempotency_ttl_s)
end
if redis.call('HEXISTS', key, 'app') == 0 then
  redis.call('HSET', key, 'app', app, 'begun', now, 'batches', 0, 'accepted', 0, 'ended', 0, 'chain', '')
  redis.call('ZADD', jobs_of_app, now, id)
  redis.call('ZREMRANGEBYSCORE', jobs_of_app, '-inf', now - index_ttl_ms)
  redis.call('PEXPIRE', jobs_of_app, index_ttl_ms + 60000)
end
local known = redis.call('HMGET', key, 'batches', 'size', 'cancelled')
if known[1] == '0' then redis.call('HSET', key, 'biz', biz, 'module', module) end
if not known[2] and not known[3] then redis.call('HSET', key, 'upload', upload, 'until', now + until_ms) end
redis.call('PEXPIRE', key, ttl_ms)
return {id, now, redis.call('HGETALL', key)}
