-- The next `count` members of a sorted set, highest first: those that follow on `after`, or with '' the first. By member and
-- not by rank: what is added meanwhile moves all ranks on.
local function following(index, after, count)
  local start = 0
  if after ~= '' then
    local rank = redis.call('ZREVRANK', index, after)
    if not rank then return {} end  -- the index forgets the oldest: what followed is forgotten as well
    start = rank + 1
  end
  return redis.call('ZREVRANGE', index, start, start + count - 1)
end
