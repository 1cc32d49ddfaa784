local OUTCOMES = {'created', 'existing', 'healed', 'failed', 'skipped'}
-- The batch `id` has ended: count it, once. Gives the id of its job when that was its last.
-- `part` is the field `job` of an entry, `prefix` that of our keys. A job that was put back (it has no upload) knows the ends
-- that PostgreSQL knew then: it is forgotten, and is put back with this one as well when somebody asks for it.
local function count_end(prefix, id, part, counts, problem, ttl_s, now)
  local job_id, number = string.match(part, '^(%x+) (%d+)')
  local job, failed = prefix .. 'job:' .. job_id, prefix .. 'jobfailed:' .. job_id
  local batches = prefix .. 'jobbatches:' .. job_id
  if redis.call('HEXISTS', job, 'app') == 0 then return nil end
  if redis.call('HEXISTS', job, 'upload') == 0 then
    redis.call('DEL', job, failed, batches)
    return job_id
  end
  local place = 0
  for count in string.gmatch(counts, '%d+') do
    place = place + 1
    if count ~= '0' then redis.call('HINCRBY', job, OUTCOMES[place], count) end
  end
  if problem ~= '' then
    redis.call('HSETNX', job, 'problem', problem)
    redis.call('ZADD', failed, number, id)
  end
  redis.call('HSET', job, 'finished', now)
  local ended = redis.call('HINCRBY', job, 'ended', 1)
  for _, key in ipairs({job, failed, batches}) do
    if redis.call('PTTL', key) < (ttl_s + 60) * 1000 then redis.call('EXPIRE', key, ttl_s + 60) end
  end
  if ended == tonumber(redis.call('HGET', job, 'batches')) then return job_id end
end
