"""What several of our Redis scripts begin with."""

from typing import Final

NOW: Final = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
# An entry that nobody has started: `entry` has its first fields and values, ARGV the rest from number `first` on.
BEGIN_ENTRY: Final = (
    NOW
    + """
local function begin(pending, entry, first)
  for _, value in ipairs({'attempts', 0, 'owner', '', 'lease', 0}) do entry[#entry + 1] = value end
  for i = first, #ARGV do entry[#entry + 1] = ARGV[i] end
  redis.call('HSET', KEYS[1], unpack(entry))
  redis.call('ZADD', pending, now, ARGV[1])
end
"""
)
