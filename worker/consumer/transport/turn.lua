#!lua flags=allow-oom
-- Acknowledge what has gathered, and take messages.
-- KEYS the lists to take from, in order
-- ARGV the fields to acknowledge
-- inbox_list: '' leaves the inbox alone
-- -> field, message, size, field … of each message taken; a message over `largest` bytes is cut to `kept`
ttl_ms, want, number = tonumber(ttl_ms), tonumber(want), tonumber(number)
largest, kept, budget = tonumber(largest), tonumber(kept), tonumber(budget)

-- Nothing may be recorded under a consumer that rescuers do not know of.
local now = clock()
local deadline = redis.call('ZSCORE', consumers, consumer)
if not deadline or tonumber(deadline) < now + ttl_ms / 2 then redis.call('ZADD', consumers, now + ttl_ms, consumer) end

-- What BLMOVE moved, and the consumer has by its reply, is filed under the field it was delivered with.
if arrived ~= '' then
  local message = redis.call('LINDEX', inbox, -1)
  if message and redis.call('HSETNX', unacked, arrived, message) == 1 then redis.call('LTRIM', inbox, 0, -2) end
end

for first = first_ack, #ARGV, 1000 do
  redis.call('HDEL', unacked, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end

local taken, count = {}, 0
-- A number is used already when this very call is made twice: nothing may be overwritten.
local function numbered(source, many)
  local fields
  repeat
    fields = {}
    for i = 1, many do fields[i] = string.format('%.0f %s', number + i, source) end
    number = number + many
    local is_used = false
    for _, held in ipairs(redis.call('HMGET', unacked, unpack(fields))) do is_used = is_used or held end
  until not is_used
  return fields
end
-- A few at a time: they are looked at before it is known how large they are.
local function take(list, source, most)
  while count < want and budget > 0 and most > 0 do
    local waiting = redis.call('LRANGE', list, -math.min(want - count, most, 8), -1)
    local many = 0
    while many < #waiting and budget > 0 do
      budget = budget - #waiting[#waiting - many]
      many = many + 1
    end
    if many == 0 then return end
    local fields, filed = numbered(source, many), {}
    for i = 1, many do
      local message = waiting[#waiting + 1 - i]
      filed[2 * i - 1], filed[2 * i] = fields[i], message
      taken[#taken + 1] = fields[i]
      taken[#taken + 1] = #message > largest and string.sub(message, 1, kept) or message
      taken[#taken + 1] = #message
    end
    redis.call('HSET', unacked, unpack(filed))
    redis.call('LTRIM', list, 0, -1 - many)
    count, most = count + many, most - many
  end
end

if inbox_list ~= '' then
  local source = redis.call('HGET', unacked, 'inbox')
  if source then take(inbox, source, want) end
  if source ~= inbox_list then
    return_inbox(unacked, inbox)
    redis.call('HSET', unacked, 'inbox', inbox_list)
  end
end
if want > count then
  -- No more than a fair share: what one consumer has in hand, no other that is idle can take.
  local living = math.max(1, redis.call('ZCOUNT', consumers, now, '+inf'))
  for i = first_list, #KEYS do take(KEYS[i], KEYS[i], math.ceil(redis.call('LLEN', KEYS[i]) / living)) end
end
return taken
