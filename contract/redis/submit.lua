-- Accept a request.
-- has_key: 0 no idempotency key · 1 it holds for its TTL · 2 it holds only while the earlier request is unfinished, which
-- is one that is pending, or whose report says (1190001, among its first keys) that it waits for CMDB
-- An empty message: it is sent elsewhere.
-- -> {1, created} new · {0, created} this very id is known already, and its entry, if it has not ended, is from then
-- · {2, id, digest} the idempotency key is taken · {-1, pending} full
local now = clock()
if has_key ~= '0' then
  local taken = redis.call('GET', idempotency)
  if taken then
    local earlier, its_digest = string.match(taken, '^(%x+)|(%x*)$')
    local holds = earlier ~= id
    if holds and has_key == '2' then
      local report = redis.call('GETRANGE', string.sub(result, 1, -33) .. earlier, 0, 40)
      if report == '' then
        holds = redis.call('HEXISTS', string.sub(req, 1, -33) .. earlier, 'payload') == 1
      else
        holds = string.find(report, '"code":1190001,', 1, true) ~= nil
      end
    end
    if holds then return {2, earlier, its_digest} end
  end
end
if redis.call('HEXISTS', req, 'payload') + redis.call('EXISTS', result) > 0 then
  return {0, redis.call('HGET', req, 'created')}
end
local waiting = redis.call('ZCARD', pending)
if waiting >= tonumber(max_pending) then return {-1, waiting} end
begin_entry(req, pending, id, now, {'digest', digest, 'created', now, 'deadline', now + deadline_ms}, first_field)
redis.call('ZADD', of_app, now, id)
-- Once a minute is enough to forget what is old, and to put off that all of it is.
if redis.call('PTTL', of_app) < tonumber(index_ttl_ms) then
  redis.call('ZREMRANGEBYSCORE', of_app, '-inf', now - index_ttl_ms)
  redis.call('PEXPIRE', of_app, index_ttl_ms + 60000)
end
if has_key ~= '0' then redis.call('SET', idempotency, id .. '|' .. digest, 'EX', idempotency_ttl_s) end
if message ~= '' then redis.call('LPUSH', queue, message) end
return {1, now}
