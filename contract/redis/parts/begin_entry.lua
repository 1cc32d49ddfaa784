-- Write an entry that nobody has started: `entry` has its first fields and values, ARGV the rest from `first_field` on.
local function begin_entry(req, pending, id, now, entry, first_field)
  for _, value in ipairs({'attempts', 0, 'owner', '', 'lease', 0}) do entry[#entry + 1] = value end
  for i = first_field, #ARGV do entry[#entry + 1] = ARGV[i] end
  redis.call('HSET', req, unpack(entry))
  redis.call('ZADD', pending, now, id)
end
