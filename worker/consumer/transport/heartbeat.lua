#!lua flags=allow-oom
-- A consumer lives, and brings back what dead ones hold, where it rescues ('1').
-- -> how many messages of dead consumers went back
local now, moved = clock(), 0
-- Farther ahead than anybody puts it: of before the clock was put back. Whoever lives says so again within this time.
local beyond = string.format('(%.0f', now + ttl_ms + most_ahead_ms)
for _, name in ipairs(redis.call('ZRANGE', consumers, beyond, '+inf', 'BYSCORE')) do
  redis.call('ZADD', consumers, now + ttl_ms, name)
end
redis.call('ZADD', consumers, 'GT', now + ttl_ms, consumer)
if rescues ~= '1' then return 0 end
local dead = redis.call('ZRANGE', consumers, '-inf', '(' .. string.format('%.0f', now), 'BYSCORE', 'WITHSCORES')
for i = 1, #dead, 2 do
  local unacked, inbox = unacked_prefix .. dead[i], inbox_prefix .. dead[i]
  moved = moved + return_all(unacked, inbox)
  -- Remembered for a while: a BLMOVE that was under way may still fill the inbox of somebody already dead.
  if tonumber(dead[i + 1]) < now - forget_ms then
    redis.call('ZREM', consumers, dead[i])
    redis.call('DEL', unacked, inbox)
  end
  -- The rest at the next beat: a script stops everybody else.
  if moved >= 1000 then break end
end
return moved
