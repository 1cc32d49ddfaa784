-- End a request that no worker has had. The poller sees the report at once; the entry stays until a worker has met
-- it and has written the report to PostgreSQL, so that the answer outlives Redis.
-- -> 1 cancelled · 0 too late · -1 unknown or somebody else's
local entry = redis.call('HMGET', req, 'app', 'attempts', 'owner', 'cancelled', 'job', 'begun')
if not entry[1] or entry[1] ~= app then return -1 end
if entry[4] then return 1 end
if entry[2] ~= '0' or entry[3] ~= '' or entry[6] then return 0 end
redis.call('HSET', req, 'cancelled', report)
redis.call('SET', result, report, 'EX', ttl_s)
redis.call('PUBLISH', channel, id)
if entry[5] then
  redis.call('HDEL', req, 'job')
  local job = count_end(string.sub(req, 1, -37), id, entry[5], counts, problem, ttl_s, clock())
  if job then redis.call('PUBLISH', channel, job) end
end
return 1
