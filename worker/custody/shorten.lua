#!lua flags=allow-oom
-- A lease that ends later than any could is of before the clock was put back: its owner, if alive, extends it.
-- -> 1 it ends in lease_ms at the latest · 0 it was no such lease
local now = clock()
local lease = tonumber(redis.call('HGET', req, 'lease') or 0)
if lease <= now + too_long_ms then return 0 end
redis.call('HSET', req, 'lease', now + lease_ms)
return 1
