-- Put back a job that Redis has forgotten; one that it knows stays as it is. Who waits for it is told either way.
-- ARGV so many fields and values, then for each batch: id number failed
if redis.call('HEXISTS', job, 'app') == 0 then
  redis.call('DEL', job, batches, failed)
  local first_batch = first_field + 2 * fields
  for i = first_field, first_batch - 1, 2 do redis.call('HSET', job, ARGV[i], ARGV[i + 1]) end
  for i = first_batch, #ARGV, 3 do
    redis.call('RPUSH', batches, ARGV[i])
    if ARGV[i + 2] == '1' then redis.call('ZADD', failed, ARGV[i + 1], ARGV[i]) end
  end
  for _, key in ipairs({job, batches, failed}) do redis.call('EXPIRE', key, ttl_s) end
end
redis.call('DEL', unknown)
redis.call('PUBLISH', channel, job_id)
