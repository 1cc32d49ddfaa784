#!lua flags=allow-oom
-- Set what stands where a list belongs aside. -> 1, or 0 when it is a list by now, or gone
local type = redis.call('TYPE', misfit).ok
if type == 'list' or type == 'none' then return 0 end
redis.call('RENAME', misfit, kept)
redis.call('EXPIRE', kept, kept_s)
add_letter(dead, letter, most_letters)
return 1
