-- What BLMOVE moved and no turn has taken goes back where it came from.
local function return_inbox(unacked, inbox)
  local source, moved = redis.call('HGET', unacked, 'inbox'), 0
  while source and redis.call('LMOVE', inbox, source, 'LEFT', 'RIGHT') do moved = moved + 1 end
  return moved
end

-- Everything goes back to the head of its list, newest first, so that the oldest is taken next.
local function return_all(unacked, inbox)
  local moved, held = return_inbox(unacked, inbox), {}
  for _, field in ipairs(redis.call('HKEYS', unacked)) do
    local number, source = string.match(field, '^(%d+) (.*)$')
    if number then held[#held + 1] = {tonumber(number), source, field} end
  end
  table.sort(held, function(a, b) return a[1] > b[1] end)
  for _, message in ipairs(held) do
    redis.call('RPUSH', message[2], redis.call('HGET', unacked, message[3]))
    redis.call('HDEL', unacked, message[3])
  end
  return moved + #held
end
