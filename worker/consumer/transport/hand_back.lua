#!lua flags=allow-oom
-- -> how many of the messages in these fields went behind what waits
local moved = 0
for i = first_field, #ARGV do
  local field = ARGV[i]
  local source, message = string.match(field, '^%d+ (.*)$'), redis.call('HGET', unacked, field)
  if source and message then
    redis.call('LPUSH', source, message)
    redis.call('HDEL', unacked, field)
    moved = moved + 1
  end
end
return moved
