#!lua flags=allow-oom
-- Take requests.
-- KEYS for each: req result
-- ARGV for each: token alone
-- After most_bytes of payloads the rest is {'later'}, untouched: no answer grows beyond what a client can take at once.
-- alone: '1' starts also what was started before and never ended; else that is {'suspect'}, untouched.
-- -> now, then for each: {'done'} · {'unknown'} · {'held'} · {'later'} · {'suspect'}
--    · {'cancelled', 0, created, report, count, job} · {'leased' | 'exhausted', attempts, created, payload, count, job}
-- A batch of a cancelled job that was never started is cancelled too; its report is empty.
local now = clock()
local answers, size, most = {now}, 0, tonumber(max_attempts)
local function lease(req, result, token, alone)
  local entry = redis.call(
    'HMGET', req, 'owner', 'lease', 'attempts', 'created', 'payload', 'cancelled', 'count', 'job')
  if entry[6] then return {'cancelled', 0, entry[4], entry[6], entry[7], entry[8]} end
  if redis.call('EXISTS', result) == 1 then return {'done'} end
  if not entry[5] then return {'unknown'} end
  local attempts = tonumber(entry[3])
  local job = entry[8] and job_of(req, entry[8])
  if job and attempts == 0 then
    if redis.call('HEXISTS', job, 'cancelled') == 1 then return {'cancelled', 0, entry[4], '', entry[7], entry[8]} end
    if redis.call('HEXISTS', job, 'app') == 1 then redis.call('HSETNX', job, 'started', now) end
  end
  if entry[1] ~= token then
    if entry[1] ~= '' and tonumber(entry[2]) > now then return {'held'} end
    if alone ~= '1' and attempts > 0 and attempts < most then return {'suspect'} end
    attempts = attempts + 1
    if entry[1] == '' then count_running(req, entry[8], entry[7], 1) end
  end
  redis.call('HSET', req, 'attempts', attempts, 'owner', token, 'lease', now + lease_ms)
  size = size + #entry[5]
  local state = 'leased'
  if attempts > most then state = 'exhausted' end
  return {state, attempts, entry[4], entry[5], entry[7], entry[8]}
end
for i = 0, #KEYS - first_key, 2 do
  local key, arg = first_key + i, first_arg + i
  local has_room = size < tonumber(most_bytes)
  answers[#answers + 1] = has_room and lease(KEYS[key], KEYS[key + 1], ARGV[arg], ARGV[arg + 1]) or {'later'}
end
return answers
