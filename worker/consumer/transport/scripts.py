"""The transport's Redis scripts. What is kept where is told in `worker.consumer.transport`.

``allow-oom``: each of them moves messages, and a full Redis must let its queue be emptied. A script that carries flags
is refused as a whole where it may not write (read-only, no disk), never in the middle.
"""

from typing import Final

_BEGIN: Final = """#!lua flags=allow-oom
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- What BLMOVE moved and no TURN has taken goes back where it came from.
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
"""

# KEYS consumers unacked inbox, then the lists to take from, in order
# ARGV consumer ttl_ms want number largest kept budget inbox-list ('' leaves the inbox alone) arrived, then the
# fields to acknowledge
# -> field, message, size, field … of each message taken; a message over `largest` bytes is cut to `kept`
TURN: Final = (
    _BEGIN
    + """
local consumers, unacked, inbox = KEYS[1], KEYS[2], KEYS[3]
local ttl, want, number = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local largest, kept, budget = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

-- Nothing may be recorded under a consumer that rescuers do not know of.
local now = clock()
local deadline = redis.call('ZSCORE', consumers, ARGV[1])
if not deadline or tonumber(deadline) < now + ttl / 2 then redis.call('ZADD', consumers, now + ttl, ARGV[1]) end

-- What BLMOVE moved, and the consumer has by its reply, is filed under the field it was delivered with.
if ARGV[9] ~= '' then
  local message = redis.call('LINDEX', inbox, -1)
  if message and redis.call('HSETNX', unacked, ARGV[9], message) == 1 then redis.call('LTRIM', inbox, 0, -2) end
end

for first = 10, #ARGV, 1000 do
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

if ARGV[8] ~= '' then
  local source = redis.call('HGET', unacked, 'inbox')
  if source then take(inbox, source, want) end
  if source ~= ARGV[8] then
    return_inbox(unacked, inbox)
    redis.call('HSET', unacked, 'inbox', ARGV[8])
  end
end
if want > count then
  -- No more than a fair share: what one consumer has in hand, no other that is idle can take.
  local living = math.max(1, redis.call('ZCOUNT', consumers, now, '+inf'))
  for i = 4, #KEYS do take(KEYS[i], KEYS[i], math.ceil(redis.call('LLEN', KEYS[i]) / living)) end
end
return taken
"""
)

# KEYS consumers | ARGV consumer ttl_ms rescue ('1' or '0') unacked-prefix inbox-prefix forget_ms most_ahead_ms
# -> how many messages of dead consumers went back
HEARTBEAT: Final = (
    _BEGIN
    + """
local consumers, now, moved = KEYS[1], clock(), 0
-- Farther ahead than anybody puts it: of before the clock was put back. Whoever lives says so again within this time.
local beyond = string.format('(%.0f', now + ARGV[2] + ARGV[7])
for _, name in ipairs(redis.call('ZRANGE', consumers, beyond, '+inf', 'BYSCORE')) do
  redis.call('ZADD', consumers, now + ARGV[2], name)
end
redis.call('ZADD', consumers, 'GT', now + ARGV[2], ARGV[1])
if ARGV[3] ~= '1' then return 0 end
local dead = redis.call('ZRANGE', consumers, '-inf', '(' .. string.format('%.0f', now), 'BYSCORE', 'WITHSCORES')
for i = 1, #dead, 2 do
  local unacked, inbox = ARGV[4] .. dead[i], ARGV[5] .. dead[i]
  moved = moved + return_all(unacked, inbox)
  -- Remembered for a while: a BLMOVE that was under way may still fill the inbox of somebody already dead.
  if tonumber(dead[i + 1]) < now - ARGV[6] then
    redis.call('ZREM', consumers, dead[i])
    redis.call('DEL', unacked, inbox)
  end
  -- The rest at the next beat: a script stops everybody else.
  if moved >= 1000 then break end
end
return moved
"""
)

# KEYS consumers unacked inbox | ARGV consumer alive_ms
# -> how many messages went back. Nothing more is taken; what is in hand may be finished for `alive_ms` longer.
DRAIN: Final = (
    _BEGIN
    + """
redis.call('ZADD', KEYS[1], clock() + ARGV[2], ARGV[1])
return return_inbox(KEYS[2], KEYS[3])
"""
)

# KEYS consumers unacked inbox | ARGV consumer -> how many messages went back. Only once no BLMOVE is under way.
LEAVE: Final = (
    _BEGIN
    + """
local moved = return_all(KEYS[2], KEYS[3])
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('ZREM', KEYS[1], ARGV[1])
return moved
"""
)

# KEYS unacked | ARGV fields… -> how many messages went behind what waits
HAND_BACK: Final = (
    _BEGIN
    + """
local moved = 0
for _, field in ipairs(ARGV) do
  local source, message = string.match(field, '^%d+ (.*)$'), redis.call('HGET', KEYS[1], field)
  if source and message then
    redis.call('LPUSH', source, message)
    redis.call('HDEL', KEYS[1], field)
    moved = moved + 1
  end
end
return moved
"""
)

# KEYS misfit kept dead | ARGV letter most kept_s -> 1, or 0 when the key is a list by now, or gone
SET_ASIDE: Final = (
    _BEGIN
    + """
local type = redis.call('TYPE', KEYS[1]).ok
if type == 'list' or type == 'none' then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('LTRIM', KEYS[3], 0, ARGV[2] - 1)
return 1
"""
)

# KEYS unacked parked | ARGV most, then field and task of each -> the fields of those that found no room
# What is parked is "<since, ms> <task>\n<list it came from>\n<message>": none of the first three has a line break.
PARK: Final = (
    _BEGIN
    + """
local room, over = ARGV[1] - redis.call('LLEN', KEYS[2]), {}
local since = string.format('%.0f ', clock())
for i = 2, #ARGV, 2 do
  local source, message = string.match(ARGV[i], '^%d+ (.*)$'), redis.call('HGET', KEYS[1], ARGV[i])
  if message and room > 0 then
    redis.call('LPUSH', KEYS[2], since .. ARGV[i + 1] .. '\\n' .. source .. '\\n' .. message)
    redis.call('HDEL', KEYS[1], ARGV[i])
    room = room - 1
  elseif message then
    over[#over + 1] = ARGV[i]
  end
end
return over
"""
)

# KEYS parked | ARGV skip most budget longest_ms, then the tasks that are known
# -> how many went behind what waits in their lists, how many to skip next time, and what has been here for too long
# A look at some, from the oldest on. What goes is emptied in its place first: places do not shift meanwhile.
SIFT: Final = (
    _BEGIN
    + """
local skip, most, budget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known, oldest, old = {}, clock() - ARGV[4], {}
local seen, gone, moved, is_end = 0, 0, 0, false
for i = 5, #ARGV do known[ARGV[i]] = true end
while seen < most and budget > 0 do
  local place = -1 - skip - seen
  local parked = redis.call('LINDEX', KEYS[1], place)
  if not parked then
    is_end = true
    break
  end
  local since, task, source, first = string.match(parked, '^(%d+) ([^\\n]+)\\n([^\\n]+)\\n()')
  if since and known[task] then
    redis.call('LPUSH', source, string.sub(parked, first))
    redis.call('LSET', KEYS[1], place, '')
    moved, gone = moved + 1, gone + 1
  elseif parked == '' then
    gone = gone + 1
  elseif not since or tonumber(since) < oldest then
    old[#old + 1] = parked
  end
  seen, budget = seen + 1, budget - #parked
end
if gone > 0 then redis.call('LREM', KEYS[1], 0, '') end
return {moved, is_end and 0 or math.max(0, skip + seen - gone - #old), old}
"""
)

# KEYS parked dead | ARGV parked letter most -> 1, or 0 when it was not (or no longer) parked
BURY_PARKED: Final = (
    _BEGIN
    + """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
return 1
"""
)

# KEYS unacked dead | ARGV field letter most -> 1, or 0 when the message was not (or no longer) held
BURY: Final = (
    _BEGIN
    + """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"""
)
