#!lua flags=allow-oom
-- Start a request that was given up anew: its entry is pending again as if it had just been accepted, and its letter and
-- report are gone. An empty message: it is sent elsewhere.
-- -> 1 it is pending · 0 its letter was gone already
local now = clock()
-- The batch, all of whose instances had failed, begins anew.
local function uncount_end(prefix, part, count)
  local job_id = string.sub(part, 1, 32)
  local job, failed = prefix .. 'job:' .. job_id, prefix .. 'jobfailed:' .. job_id
  if redis.call('ZREM', failed, id) == 1 then
    redis.call('HINCRBY', job, 'failed', -count)
    redis.call('HINCRBY', job, 'ended', -1)
    if redis.call('EXISTS', failed) == 0 then redis.call('HDEL', job, 'problem') end
  end
end
local had_letter = redis.call('LREM', dead, 1, letter) == 1
if redis.call('HEXISTS', req, 'payload') == 1 then return 1 end
if not had_letter then return 0 end
begin_entry(req, pending, id, now, {'created', created_ms, 'deadline', now + deadline_ms}, first_field)
local entry = redis.call('HMGET', req, 'job', 'count')
if entry[1] then uncount_end(string.sub(req, 1, -37), entry[1], entry[2]) end
redis.call('DEL', result, kept)
if message ~= '' then redis.call('LPUSH', queue, message) end
return 1
