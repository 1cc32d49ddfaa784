#!lua flags=allow-oom
-- Times ahead of now are of before the clock was put back. Whoever wrote them is judged as if he had written them now: a
-- live one writes again, a dead one is found out. What waits keeps its place before what comes.
-- -> how many pending entries were ahead
local now = clock()
local soon = string.format('(%.0f', now + 1000)
local ahead = redis.call('ZRANGE', pending, soon, '+inf', 'BYSCORE', 'LIMIT', 0, most)
for _, id in ipairs(ahead) do redis.call('ZADD', pending, now, id) end
redis.call('ZREMRANGEBYSCORE', workers, soon, '+inf')
return #ahead
