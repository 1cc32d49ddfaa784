"""The Redis scripts of jobs, and what the scripts of requests do for a request that is part of one.

Fields of a job (the hash ``job:{job_id}``):

========= ==================================================================================================
app       bk_app_code of whoever submitted it; nobody else may read it
biz module as its head says, as decimal text
begun     ms, Redis' clock
upload    token of the upload that may add batches: the latest under the job's idempotency key
until     ms, Redis' clock: until when that upload counts as alive
chain     digest over the batches accepted so far, from which an upload that is repeated knows its place
batches   accepted so far; their ids stand in the list ``jobbatches:{job_id}``
accepted  instances of those
size      the number of batches, once the upload is complete
started   a worker has begun one
cancelled no further batch is accepted, and none that was not begun is begun
ended     batches that have ended, and by outcome their instances: created existing healed failed skipped
problem   JSON of the first failure
finished  ms, Redis' clock: when the latest batch ended
========= ==================================================================================================
"""

from typing import Final

from contract.redis.script_parts import BEGIN_ENTRY, NOW

# KEYS job jobs-of-app idempotency
# ARGV job_id upload app biz module until_ms ttl_ms idempotency_ttl_s index_ttl_ms has_key prefix
# Begin a job, or let this upload carry on the one under the same key. Who carried it on before may add nothing more.
# -> {job_id, field, value, …}
BEGIN_JOB: Final = (
    NOW
    + """
local id, job, begun = ARGV[1], KEYS[1], false
if ARGV[10] == '1' then
  local taken = redis.call('GET', KEYS[3])
  if taken then id, job = taken, ARGV[11] .. 'job:' .. taken end
  redis.call('SET', KEYS[3], id, 'EX', ARGV[8])
end
if redis.call('HEXISTS', job, 'app') == 0 then
  redis.call('HSET', job, 'app', ARGV[3], 'begun', now, 'batches', 0, 'accepted', 0, 'ended', 0, 'chain', '')
  redis.call('ZADD', KEYS[2], now, id)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[9])
  redis.call('PEXPIRE', KEYS[2], ARGV[9] + 60000)
end
local known = redis.call('HMGET', job, 'batches', 'size', 'cancelled')
if known[1] == '0' then redis.call('HSET', job, 'biz', ARGV[4], 'module', ARGV[5]) end
if not known[2] and not known[3] then redis.call('HSET', job, 'upload', ARGV[2], 'until', now + ARGV[6]) end
redis.call('PEXPIRE', job, ARGV[7])
return {id, now, redis.call('HGETALL', job)}
"""
)

# KEYS req pending queue job batches
# ARGV id message max_pending deadline_ms push upload until_ms ttl_ms before after is_last, then field value …
# Accept one batch of a job. before, after: the job's chain without and with it.
# -> {1, unended} accepted, now or by a call whose answer got lost · {0} not this upload's to add · {-1, pending} full
ADD_BATCH: Final = (
    BEGIN_ENTRY
    + """
local job = redis.call('HMGET', KEYS[4], 'upload', 'chain', 'cancelled', 'size', 'batches', 'ended')
if job[1] ~= ARGV[6] or job[3] then return {0} end
if job[2] ~= ARGV[10] then
  if job[4] or job[2] ~= ARGV[9] then return {0} end
  local waiting = redis.call('ZCARD', KEYS[2])
  if waiting >= tonumber(ARGV[3]) then return {-1, waiting} end
  begin(KEYS[2], {'created', now, 'deadline', now + ARGV[4]}, 12)
  redis.call('RPUSH', KEYS[5], ARGV[1])
  job[5] = redis.call('HINCRBY', KEYS[4], 'batches', 1)
  redis.call('HINCRBY', KEYS[4], 'accepted', redis.call('HGET', KEYS[1], 'count'))
  redis.call('HSET', KEYS[4], 'chain', ARGV[10], 'until', now + ARGV[7])
  if ARGV[11] == '1' then redis.call('HSET', KEYS[4], 'size', job[5]) end
  redis.call('PEXPIRE', KEYS[4], ARGV[8])
  redis.call('PEXPIRE', KEYS[5], ARGV[8])
  if ARGV[5] == '1' then redis.call('LPUSH', KEYS[3], ARGV[2]) end
end
return {1, job[5] - job[6]}
"""
)

# KEYS job | ARGV upload until_ms
# An upload says that it lives, or with 0 that it is over.
# -> how many batches have not ended · -1 it is not this upload's any more
HOLD: Final = (
    NOW
    + """
local job = redis.call('HMGET', KEYS[1], 'upload', 'batches', 'ended', 'cancelled')
if job[1] ~= ARGV[1] or job[4] then return -1 end
redis.call('HSET', KEYS[1], 'until', ARGV[2] == '0' and 0 or now + ARGV[2])
return job[2] - job[3]
"""
)

# KEYS job
# Accept no further batch, and start none that has not been. -> 1 · 0 everything has ended already · -1 unknown
CANCEL_JOB: Final = """
local job = redis.call('HMGET', KEYS[1], 'app', 'batches', 'ended', 'size')
if not job[1] then return -1 end
if job[4] and job[2] == job[3] then return 0 end
redis.call('HSET', KEYS[1], 'cancelled', 1)
return 1
"""

# KEYS job batches failed unknown
# ARGV job_id channel ttl_s fields, then so many fields and values, then for each batch:
# id number failed
# Put back a job that Redis has forgotten; one that it knows stays as it is. Who waits for it is told either way.
RESTORE_JOB: Final = """
if redis.call('HEXISTS', KEYS[1], 'app') == 0 then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  local first = 5 + 2 * ARGV[4]
  for i = 5, first - 1, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  for i = first, #ARGV, 3 do
    redis.call('RPUSH', KEYS[2], ARGV[i])
    if ARGV[i + 2] == '1' then redis.call('ZADD', KEYS[3], ARGV[i + 1], ARGV[i]) end
  end
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
end
redis.call('DEL', KEYS[4])
redis.call('PUBLISH', ARGV[2], ARGV[1])
"""

# Of the scripts of requests. `part` is the field `job` of an entry, `prefix` that of our keys.
COUNT_END: Final = """
local OUTCOMES = {'created', 'existing', 'healed', 'failed', 'skipped'}
-- The batch `id` has ended: count it, once. Gives the id of its job when that was its last.
local function count_end(prefix, id, part, counts, problem, ttl_s, now)
  local job_id, number = string.match(part, '^(%x+) (%d+)')
  local job, failed = prefix .. 'job:' .. job_id, prefix .. 'jobfailed:' .. job_id
  if redis.call('HEXISTS', job, 'app') == 0 then return nil end
  local place = 0
  for count in string.gmatch(counts, '%d+') do
    place = place + 1
    if count ~= '0' then redis.call('HINCRBY', job, OUTCOMES[place], count) end
  end
  if problem ~= '' then
    redis.call('HSETNX', job, 'problem', problem)
    redis.call('ZADD', failed, number, id)
  end
  redis.call('HSET', job, 'finished', now)
  local ended = redis.call('HINCRBY', job, 'ended', 1)
  for _, key in ipairs({job, failed, prefix .. 'jobbatches:' .. job_id}) do
    if redis.call('PTTL', key) < (ttl_s + 60) * 1000 then redis.call('EXPIRE', key, ttl_s + 60) end
  end
  if ended == tonumber(redis.call('HGET', job, 'batches')) then return job_id end
end
"""
UNCOUNT_END: Final = """
-- The batch `id`, all of whose `count` instances had failed, begins anew.
local function uncount_end(prefix, id, part, count)
  local job_id = string.sub(part, 1, 32)
  local job = prefix .. 'job:' .. job_id
  if redis.call('ZREM', prefix .. 'jobfailed:' .. job_id, id) == 1 then
    redis.call('HINCRBY', job, 'failed', -count)
    redis.call('HINCRBY', job, 'ended', -1)
    if redis.call('EXISTS', prefix .. 'jobfailed:' .. job_id) == 0 then redis.call('HDEL', job, 'problem') end
  end
end
"""
