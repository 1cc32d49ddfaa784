#!lua flags=allow-oom
-- Store reports, and end their requests.
-- KEYS for each report: result req kept unknown
-- ARGV for each: id report delivery token kept_s letter counts problem
-- What a frozen process says late replaces nothing newer, and ends nothing that was started anew (`is_late`).
-- The payload of a request that failed stays for kept_s (0: not at all, -1: no longer), so that it can be tried again. A
-- letter goes to the dead letters in the very step that ends the request, hence once. A note that nobody knows the
-- request, left by a poll before a bare message was taken, must not outlive it. What is published:
-- `contract.redis.records`. A batch is counted in its job as it ends, and with the last one the job is said to have ended.
-- -> for each: 1 the entry ended now · 0 it had ended before, or is another's to end
local now = clock()
-- Each of these may be followed by another: what waits for CMDB by its answer, CMDB's no by its yes, a letter by anything.
local function is_late(result, owner, delivery, letter, token)
  if owner then return letter ~= '' and token ~= '' and token ~= owner end
  if delivery == 'PENDING' then return redis.call('EXISTS', result) == 1 end
  local stored = (delivery == 'FAILED' or letter ~= '') and redis.call('GET', result)
  if not stored then return false end
  if letter ~= '' then return not string.find(stored, '"code":1190010,', 1, true) end
  return string.find(stored, '"delivery":"DELIVERED"', 1, true) ~= nil
end
local answers, ids, reports, unknown, size, all, jobs = {}, {}, {}, {}, 0, 0, {}
for n = 1, (#KEYS - first_key + 1) / 4 do
  local key, arg = first_key + 4 * (n - 1), first_arg + 8 * (n - 1)
  local result, req, kept = unpack(KEYS, key, key + 2)
  local id, report, delivery, token, kept_s, letter, counts, problem = unpack(ARGV, arg, arg + 7)
  local part, count, owner = unpack(redis.call('HMGET', req, 'job', 'count', 'owner'))
  answers[n] = 0
  if not is_late(result, owner, delivery, letter, token) then
    redis.call('SET', result, report, 'EX', ttl_s)
    if kept_s == '-1' then
      redis.call('DEL', kept)
    elseif kept_s ~= '0' and redis.call('HEXISTS', req, 'payload') == 1 then
      redis.call('SET', kept, redis.call('HGET', req, 'payload'), 'EX', kept_s)
    end
    local ended = redis.call('DEL', req)
    if owner and owner ~= '' then count_running(req, part, count, -1) end
    if part then jobs[#jobs + 1] = count_end(string.sub(req, 1, -37), id, part, counts, problem, ttl_s, now) end
    if ended == 1 and letter ~= '' then add_letter(dead, letter, most_letters) end
    answers[n], ids[#ids + 1], reports[#ids + 1], unknown[#ids + 1] = ended, id, report, KEYS[key + 3]
    size, all = size + #report, all + ended
  end
end
if #ids == 0 then return answers end
redis.call('ZREM', pending, unpack(ids))
redis.call('DEL', unpack(unknown))
if all > 0 then redis.call('INCRBY', finished, all) end
local said = table.concat(ids, ' ')
if size <= most_said * #ids then said = said .. '\n' .. table.concat(reports, '\n') end
redis.call('PUBLISH', channel, said)
if #jobs > 0 then redis.call('PUBLISH', channel, table.concat(jobs, ' ')) end
return answers
