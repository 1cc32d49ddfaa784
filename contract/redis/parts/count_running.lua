-- A batch of a job gets an owner (by = 1) or has none any more (-1): count its instances as running, or no longer.
-- `req` is the key of its entry, `part` and `count` are fields of it.
local function count_running(req, part, count, by)
  if not part then return end
  local job = string.sub(req, 1, -37) .. 'job:' .. string.sub(part, 1, 32)
  if redis.call('HEXISTS', job, 'app') == 1 then redis.call('HINCRBY', job, 'running', by * count) end
end
