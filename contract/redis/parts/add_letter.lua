-- The one way into the dead letters; the oldest go.
local function add_letter(dead, letter, most_letters)
  redis.call('LPUSH', dead, letter)
  redis.call('LTRIM', dead, 0, most_letters - 1)
end
