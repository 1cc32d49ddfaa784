#!lua flags=allow-oom
-- -> 1, or 0 when the message was not (or no longer) held
if redis.call('HEXISTS', unacked, field) == 0 then return 0 end
add_letter(dead, letter, most_letters)
redis.call('HDEL', unacked, field)
return 1
