#!lua flags=allow-oom
-- -> 1, or 0 when it was not (or no longer) parked
if redis.call('LREM', parked, -1, message) == 0 then return 0 end
add_letter(dead, letter, most_letters)
return 1
