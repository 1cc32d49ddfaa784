-- Accept one batch of a job. before, after: the job's chain without and with it.
-- -> {1, unended} accepted, now or by a call whose answer got lost · {0} not this upload's to add · {-1, pending} full
local now = clock()
local stands = redis.call('HMGET', job, 'upload', 'chain', 'cancelled', 'size', 'batches', 'ended')
if stands[1] ~= upload or stands[3] then return {0} end
if stands[2] ~= after then
  if stands[4] or stands[2] ~= before then return {0} end
  local waiting = redis.call('ZCARD', pending)
  if waiting >= tonumber(max_pending) then return {-1, waiting} end
  begin_entry(req, pending, id, now, {'created', now, 'deadline', now + deadline_ms}, first_field)
  redis.call('RPUSH', batches, id)
  stands[5] = redis.call('HINCRBY', job, 'batches', 1)
  redis.call('HINCRBY', job, 'accepted', redis.call('HGET', req, 'count'))
  redis.call('HSET', job, 'chain', after, 'until', now + until_ms)
  if is_last == '1' then redis.call('HSET', job, 'size', stands[5]) end
  redis.call('PEXPIRE', job, ttl_ms)
  redis.call('PEXPIRE', batches, ttl_ms)
  if message ~= '' then redis.call('LPUSH', queue, message) end
end
return {1, stands[5] - stands[6]}
