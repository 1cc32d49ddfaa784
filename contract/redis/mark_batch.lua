#!lua flags=allow-oom
-- A batch of a job whose rows are here is to be tried again for as long as its report says that CMDB does not take them.
local report = redis.call('GET', result)
if not report or redis.call('HEXISTS', job, 'app') == 0 then return end
if string.find(report, '"delivery":"FAILED"', 1, true) then
  redis.call('ZADD', failed, number, id)
  redis.call('PEXPIRE', failed, redis.call('PTTL', job))
else
  redis.call('ZREM', failed, id)
end
