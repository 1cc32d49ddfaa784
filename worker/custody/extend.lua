#!lua flags=allow-oom
-- A worker process says that it lives and keeps its leases; a token for each request.
-- -> how many leases were still its own
local now = clock()
redis.call('ZADD', workers, now, worker_name)
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now - 3600000)
local held = 0
for i = 0, #KEYS - first_req do
  local req = KEYS[first_req + i]
  if redis.call('HGET', req, 'owner') == ARGV[first_token + i] then
    redis.call('HSET', req, 'lease', now + lease_ms)
    held = held + 1
  end
end
return held
