-- Accept no further batch, and start none that has not been.
-- -> 1 · 0 everything has ended already · -1 unknown
local stands = redis.call('HMGET', job, 'app', 'batches', 'ended', 'size')
if not stands[1] then return -1 end
if stands[4] and stands[2] == stands[3] then return 0 end
redis.call('HSET', job, 'cancelled', 1)
return 1
