-- An upload says that it lives, or with 0 that it is over.
-- -> how many batches have not ended · -1 it is not this upload's any more
local stands = redis.call('HMGET', job, 'upload', 'batches', 'ended', 'cancelled')
if stands[1] ~= upload or stands[4] then return -1 end
redis.call('HSET', job, 'until', until_ms == '0' and 0 or clock() + until_ms)
return stands[2] - stands[3]
