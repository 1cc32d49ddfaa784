#!lua flags=no-writes,allow-oom
-- KEYS result req, and so on for each request
-- -> now, then for each: the report · {field…} of an unfinished one · nil
local answers = {clock()}
for i = first_key, #KEYS, 2 do
  local found = redis.call('GET', KEYS[i]) or redis.call('HGET', KEYS[i + 1], 'cancelled')
  if not found and redis.call('HEXISTS', KEYS[i + 1], 'payload') == 1 then
    found = redis.call('HMGET', KEYS[i + 1], unpack(ARGV, first_field))
  end
  answers[#answers + 1] = found
end
return answers
