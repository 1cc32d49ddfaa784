#!lua flags=allow-oom
-- Put a message that was set aside behind what waits.
-- -> 1 pushed · 0 its letter was gone already
if redis.call('LREM', dead, 1, letter) == 0 then return 0 end
redis.call('LPUSH', queue, message)
return 1
