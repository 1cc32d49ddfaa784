#!lua flags=allow-oom
-- Hand everything back, only once no BLMOVE is under way. -> how many messages went back
local moved = return_all(unacked, inbox)
redis.call('DEL', unacked, inbox)
redis.call('ZREM', consumers, consumer)
return moved
