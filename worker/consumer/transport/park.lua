#!lua flags=allow-oom
-- Set messages aside for newer workers. ARGV field and task of each
-- What is parked is "<since, ms> <task>\n<list it came from>\n<message>": none of the first three has a line break.
-- -> the fields of those that found no room
local room, over = most - redis.call('LLEN', parked), {}
local since = string.format('%.0f ', clock())
for i = first_field, #ARGV, 2 do
  local source, message = string.match(ARGV[i], '^%d+ (.*)$'), redis.call('HGET', unacked, ARGV[i])
  if message and room > 0 then
    redis.call('LPUSH', parked, since .. ARGV[i + 1] .. '\n' .. source .. '\n' .. message)
    redis.call('HDEL', unacked, ARGV[i])
    room = room - 1
  elseif message then
    over[#over + 1] = ARGV[i]
  end
end
return over
