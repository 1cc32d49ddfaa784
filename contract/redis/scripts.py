"""The Redis scripts. Each is atomic and safe to repeat, because a client repeats a call whose answer got lost.

Fields of a pending entry (the hash ``req:{request_id}``). Without a payload it is none, whatever else it holds: a Redis
that lost the writing of an entry may have kept what was written to it later.

========= ==================================================================================================
payload   JSON of `contract.message.Payload`
digest    sha256 of the batch's canonical form
app       bk_app_code of whoever submitted it; nobody else may read it
summary   the line Flower shows
biz module count   for the poller, as decimal text
created   ms, Redis' clock
deadline  ms, Redis' clock
attempts  starts so far
owner     token of the attempt that holds the lease; empty when none does
lease     ms, Redis' clock: until when the owner holds it
cancelled the final report, when the caller cancelled before any start
job       which part of a job it is, as `contract.answer.part.JobPart` writes it, until its end is counted there
========= ==================================================================================================
"""

from typing import Final

from contract.redis.job_scripts import COUNT_END, UNCOUNT_END
from contract.redis.script_parts import BEGIN_ENTRY, NOW

# A full Redis must let its queue be emptied, and ending a request frees more than it takes. Only submitting is refused.
_EVEN_WHEN_FULL: Final = "#!lua flags=allow-oom\n"
# KEYS req result pending queue app-index idempotency | ARGV id message max_pending idempotency_ttl_s digest deadline_ms
# index_ttl_ms has_key push, then field value …
# has_key: 0 no idempotency key · 1 it holds for its TTL · 2 it holds only while the earlier request is unfinished
# -> {1} new · {0} this very id is known already · {2, id, digest} the idempotency key is taken · {-1, pending} full
SUBMIT: Final = (
    BEGIN_ENTRY
    + """
if ARGV[8] ~= '0' then
  local taken = redis.call('GET', KEYS[6])
  if taken then
    local id, digest = string.match(taken, '^(%x+)|(%x*)$')
    local holds = id ~= ARGV[1]
    if holds and ARGV[8] == '2' then
      local entry, result = string.sub(KEYS[1], 1, -33) .. id, string.sub(KEYS[2], 1, -33) .. id
      holds = redis.call('HEXISTS', entry, 'payload') == 1 and redis.call('EXISTS', result) == 0
    end
    if holds then return {2, id, digest} end
  end
end
if redis.call('HEXISTS', KEYS[1], 'payload') + redis.call('EXISTS', KEYS[2]) > 0 then return {0} end
local waiting = redis.call('ZCARD', KEYS[3])
if waiting >= tonumber(ARGV[3]) then return {-1, waiting} end
begin(KEYS[3], {'digest', ARGV[5], 'created', now, 'deadline', now + ARGV[6]}, 10)
redis.call('ZADD', KEYS[5], now, ARGV[1])
-- Once a minute is enough to forget what is old, and to put off that all of it is.
if redis.call('PTTL', KEYS[5]) < tonumber(ARGV[7]) then
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - ARGV[7])
  redis.call('PEXPIRE', KEYS[5], ARGV[7] + 60000)
end
if ARGV[8] ~= '0' then redis.call('SET', KEYS[6], ARGV[1] .. '|' .. ARGV[5], 'EX', ARGV[4]) end
if ARGV[9] == '1' then redis.call('LPUSH', KEYS[4], ARGV[2]) end
return {1}
"""
)

# KEYS result req, and so on for each request | ARGV field…
# -> now, then for each: the report · {field…} of an unfinished one · nil
LOAD: Final = (
    "#!lua flags=no-writes,allow-oom\n"
    + NOW
    + """
local answers = {now}
for i = 1, #KEYS, 2 do
  local found = redis.call('GET', KEYS[i])
  if not found and redis.call('HEXISTS', KEYS[i + 1], 'payload') == 1 then
    found = redis.call('HMGET', KEYS[i + 1], unpack(ARGV))
  end
  answers[#answers + 1] = found
end
return answers
"""
)

# KEYS req result, and so on for each request
# ARGV lease_ms max_attempts most_bytes, then for each: token alone
# After most_bytes of payloads the rest is {'later'}, untouched: no answer grows beyond what a client can take at once.
# alone: '1' starts also what was started before and never ended; else that is {'suspect'}, untouched.
# -> now, then for each: {'done'} · {'unknown'} · {'held'} · {'later'} · {'suspect'}
#    · {'cancelled', 0, created, report, count, job} · {'leased' | 'exhausted', attempts, created, payload, count, job}
# A batch of a cancelled job that was never started is cancelled too; its report is empty.
LEASE: Final = (
    _EVEN_WHEN_FULL
    + NOW
    + """
local answers, size, most = {now}, 0, tonumber(ARGV[2])
local function lease(req, result, token, alone)
  local entry = redis.call(
    'HMGET', req, 'owner', 'lease', 'attempts', 'created', 'payload', 'cancelled', 'count', 'job')
  if entry[6] then return {'cancelled', 0, entry[4], entry[6], entry[7], entry[8]} end
  if redis.call('EXISTS', result) == 1 then return {'done'} end
  if not entry[5] then return {'unknown'} end
  local attempts = tonumber(entry[3])
  local job = entry[8] and string.sub(req, 1, -37) .. 'job:' .. string.sub(entry[8], 1, 32)
  if job and attempts == 0 then
    if redis.call('HEXISTS', job, 'cancelled') == 1 then return {'cancelled', 0, entry[4], '', entry[7], entry[8]} end
    if redis.call('HEXISTS', job, 'app') == 1 then redis.call('HSETNX', job, 'started', now) end
  end
  if entry[1] ~= token then
    if entry[1] ~= '' and tonumber(entry[2]) > now then return {'held'} end
    if alone ~= '1' and attempts > 0 and attempts < most then return {'suspect'} end
    attempts = attempts + 1
  end
  redis.call('HSET', req, 'attempts', attempts, 'owner', token, 'lease', now + ARGV[1])
  size = size + #entry[5]
  local state = 'leased'
  if attempts > most then state = 'exhausted' end
  return {state, attempts, entry[4], entry[5], entry[7], entry[8]}
end
for i = 1, #KEYS, 2 do
  local has_room = size < tonumber(ARGV[3])
  answers[#answers + 1] = has_room and lease(KEYS[i], KEYS[i + 1], ARGV[i + 3], ARGV[i + 4]) or {'later'}
end
return answers
"""
)

# KEYS workers req… | ARGV worker_name lease_ms token… (one token for each req)
# -> how many leases were still ours
EXTEND: Final = (
    _EVEN_WHEN_FULL
    + NOW
    + """
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 3600000)
local held = 0
for i = 2, #KEYS do
  if redis.call('HGET', KEYS[i], 'owner') == ARGV[i + 1] then
    redis.call('HSET', KEYS[i], 'lease', now + ARGV[2])
    held = held + 1
  end
end
return held
"""
)

# KEYS pending finished dead, then for each report: result req kept unknown
# ARGV ttl_s channel most_letters most_said, then for each: id report kept_s letter counts problem
# The payload of a request that failed stays for kept_s (0: not at all), so that it can be tried again. A letter goes to
# the dead letters in the very step that ends the request, hence once. A note that nobody knows the request, left by a
# poll before a bare message was taken, must not outlive it. What is published: `contract.redis.notices`. A batch is
# counted in its job as it ends, and with the last one the job is said to have ended.
# -> for each: 1 the entry ended now · 0 it had ended before
PUBLISH: Final = (
    _EVEN_WHEN_FULL
    + NOW
    + COUNT_END
    + """
local answers, ids, reports, unknown, size, all, jobs = {}, {}, {}, {}, 0, 0, {}
for n = 1, (#KEYS - 3) / 4 do
  local result, req, kept = unpack(KEYS, 4 * n, 4 * n + 2)
  local id, report, kept_s, letter, counts, problem = unpack(ARGV, 6 * n - 1, 6 * n + 4)
  redis.call('SET', result, report, 'EX', ARGV[1])
  if kept_s ~= '0' and redis.call('HEXISTS', req, 'payload') == 1 then
    redis.call('SET', kept, redis.call('HGET', req, 'payload'), 'EX', kept_s)
  end
  local part = redis.call('HGET', req, 'job')
  local ended = redis.call('DEL', req)
  if part then
    jobs[#jobs + 1] = count_end(string.sub(req, 1, -37), id, part, counts, problem, ARGV[1], now)
  end
  if ended == 1 and letter ~= '' then
    redis.call('LPUSH', KEYS[3], letter)
    redis.call('LTRIM', KEYS[3], 0, ARGV[3] - 1)
  end
  answers[n], ids[n], reports[n], unknown[n] = ended, id, report, KEYS[4 * n + 3]
  size, all = size + #report, all + ended
end
redis.call('ZREM', KEYS[1], unpack(ids))
redis.call('DEL', unpack(unknown))
if all > 0 then redis.call('INCRBY', KEYS[2], all) end
local said = table.concat(ids, ' ')
if size <= ARGV[4] * #ids then said = said .. '\\n' .. table.concat(reports, '\\n') end
redis.call('PUBLISH', ARGV[2], said)
if #jobs > 0 then redis.call('PUBLISH', ARGV[2], table.concat(jobs, ' ')) end
return answers
"""
)

# KEYS pending workers | ARGV most
# Times ahead of now are of before the clock was put back. Whoever wrote them is judged as if he had written them now: a
# live one writes again, a dead one is found out. What waits keeps its place before what comes.
# -> how many pending entries were ahead
CALM: Final = (
    _EVEN_WHEN_FULL
    + NOW
    + """
local soon = string.format('(%.0f', now + 1000)
local ahead = redis.call('ZRANGE', KEYS[1], soon, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ahead) do redis.call('ZADD', KEYS[1], now, id) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], soon, '+inf')
return #ahead
"""
)

# KEYS req | ARGV lease_ms too_long_ms
# A lease that ends later than any could is of before the clock was put back: its owner, if alive, extends it.
# -> 1 it ends in lease_ms at the latest · 0 it was no such lease
SHORTEN: Final = (
    _EVEN_WHEN_FULL
    + NOW
    + """
local lease = tonumber(redis.call('HGET', KEYS[1], 'lease') or 0)
if lease <= now + ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'lease', now + ARGV[1])
return 1
"""
)

# KEYS req pending queue | ARGV id message token expected_score count_attempt
# Push a pending request's message again. With a token: its owner hands it back. Without: the reaper found no live
# owner, and `expected_score` makes sure that no other reaper was first.
# -> 1 pushed · 0 not ours to push (any more)
RESEND: Final = (
    _EVEN_WHEN_FULL
    + NOW
    + """
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not score then return 0 end
local entry = redis.call('HMGET', KEYS[1], 'owner', 'lease', 'payload')
if not entry[3] then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
if ARGV[3] ~= '' then
  if entry[1] ~= ARGV[3] then return 0 end
  if ARGV[5] == '0' then redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
else
  if tonumber(score) ~= tonumber(ARGV[4]) then return 0 end
  if entry[1] ~= '' and tonumber(entry[2]) > now then return 0 end
end
redis.call('HSET', KEYS[1], 'owner', '', 'lease', 0)
redis.call('ZADD', KEYS[2], now, ARGV[1])
if ARGV[2] ~= '' then redis.call('LPUSH', KEYS[3], ARGV[2]) end
return 1
"""
)

# KEYS req pending queue result kept dead | ARGV id letter message deadline_ms created_ms push, then field value …
# Start a request that was given up anew: its entry is pending again as if it had just been accepted, and its
# letter and report are gone.
# -> 1 it is pending · 0 its letter was gone already
REVIVE: Final = (
    _EVEN_WHEN_FULL
    + BEGIN_ENTRY
    + UNCOUNT_END
    + """
local had_letter = redis.call('LREM', KEYS[6], 1, ARGV[2]) == 1
if redis.call('HEXISTS', KEYS[1], 'payload') == 1 then return 1 end
if not had_letter then return 0 end
begin(KEYS[2], {'created', ARGV[5], 'deadline', now + ARGV[4]}, 7)
local entry = redis.call('HMGET', KEYS[1], 'job', 'count')
if entry[1] then uncount_end(string.sub(KEYS[1], 1, -37), ARGV[1], entry[1], entry[2]) end
redis.call('DEL', KEYS[4], KEYS[5])
if ARGV[6] == '1' then redis.call('LPUSH', KEYS[3], ARGV[3]) end
return 1
"""
)

# KEYS dead queue | ARGV letter message
# Put a message that was set aside behind what waits.
# -> 1 pushed · 0 its letter was gone already
PUSH_LETTER: Final = (
    _EVEN_WHEN_FULL
    + """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1
"""
)

# KEYS req result | ARGV id report ttl_s channel app counts problem
# End a request that no worker has started. The poller sees the report at once; the entry stays until a worker has met
# it and has written the report to PostgreSQL, so that the answer outlives Redis.
# -> 1 cancelled · 0 too late · -1 unknown or somebody else's
CANCEL: Final = (
    NOW
    + COUNT_END
    + """
local entry = redis.call('HMGET', KEYS[1], 'app', 'attempts', 'owner', 'cancelled', 'job')
if not entry[1] or entry[1] ~= ARGV[5] then return -1 end
if entry[4] then return 1 end
if entry[2] ~= '0' or entry[3] ~= '' then return 0 end
redis.call('HSET', KEYS[1], 'cancelled', ARGV[2])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[1])
if entry[5] then
  redis.call('HDEL', KEYS[1], 'job')
  local job = count_end(string.sub(KEYS[1], 1, -37), ARGV[1], entry[5], ARGV[6], ARGV[7], ARGV[3], now)
  if job then redis.call('PUBLISH', ARGV[4], job) end
end
return 1
"""
)

# KEYS asked queue | ARGV ttl_ms message
# Ask a worker to look a request up in PostgreSQL, once at a time. The message is taken next: somebody waits for it.
# -> 1 asked · 0 somebody has just asked
ASK: Final = """
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
if ARGV[2] ~= '' then redis.call('RPUSH', KEYS[2], ARGV[2]) end
return 1
"""
