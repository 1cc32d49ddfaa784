-- The key of the job that an entry is a batch of. `req` is the key of the entry, `part` its field `job`.
local function job_of(req, part)
  return string.sub(req, 1, -37) .. 'job:' .. string.sub(part, 1, 32)
end

-- A batch of a job gets an owner (by = 1) or has none any more (-1): count its instances as running, or no longer.
-- `count` is another field of the entry.
local function count_running(req, part, count, by)
  if not part then return end
  local job = job_of(req, part)
  if redis.call('HEXISTS', job, 'app') == 1 then redis.call('HINCRBY', job, 'running', by * count) end
end
