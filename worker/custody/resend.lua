#!lua flags=allow-oom
-- Push a pending request's message again; an empty one is sent elsewhere. With a token: its owner hands it back. Without:
-- the reaper found no live owner, and `expected_score` makes sure that no other reaper was first.
-- -> 1 pushed · 0 not ours to push (any more)
local now = clock()
local score = redis.call('ZSCORE', pending, id)
if not score then return 0 end
local entry = redis.call('HMGET', req, 'owner', 'lease', 'payload', 'job', 'count')
if not entry[3] then
  redis.call('ZREM', pending, id)
  return 0
end
if token ~= '' then
  if entry[1] ~= token then return 0 end
  if count_attempt == '0' then
    redis.call('HINCRBY', req, 'attempts', -1)
    redis.call('HSET', req, 'begun', 1)
  end
else
  if tonumber(score) ~= tonumber(expected_score) then return 0 end
  if entry[1] ~= '' and tonumber(entry[2]) > now then return 0 end
end
if entry[1] ~= '' then count_running(req, entry[4], entry[5], -1) end
redis.call('HSET', req, 'owner', '', 'lease', 0)
redis.call('ZADD', pending, now, id)
if message ~= '' then redis.call('LPUSH', queue, message) end
return 1
