#!lua flags=allow-oom
-- A batch of a job whose rows are here is to be tried again (is_open: 1), for CMDB does not take them, or is not any more.
if redis.call('HEXISTS', job, 'app') == 0 then return end
if is_open == '1' then
  redis.call('ZADD', failed, number, id)
  redis.call('PEXPIRE', failed, redis.call('PTTL', job))
else
  redis.call('ZREM', failed, id)
end
