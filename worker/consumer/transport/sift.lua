#!lua flags=allow-oom
-- A look at some of what is parked, from the oldest on. ARGV the tasks that are known
-- What goes is emptied in its place first: places do not shift meanwhile.
-- -> how many went behind what waits in their lists, how many to skip next time, and what has been here for too long
skip, most, budget = tonumber(skip), tonumber(most), tonumber(budget)
local known, oldest, old = {}, clock() - longest_ms, {}
local seen, gone, moved, is_end = 0, 0, 0, false
for i = first_task, #ARGV do known[ARGV[i]] = true end
while seen < most and budget > 0 do
  local place = -1 - skip - seen
  local one = redis.call('LINDEX', parked, place)
  if not one then
    is_end = true
    break
  end
  local since, task, source, first = string.match(one, '^(%d+) ([^\n]+)\n([^\n]+)\n()')
  if since and known[task] then
    redis.call('LPUSH', source, string.sub(one, first))
    redis.call('LSET', parked, place, '')
    moved, gone = moved + 1, gone + 1
  elseif one == '' then
    gone = gone + 1
  elseif not since or tonumber(since) < oldest then
    old[#old + 1] = one
  end
  seen, budget = seen + 1, budget - #one
end
if gone > 0 then redis.call('LREM', parked, 0, '') end
return {moved, is_end and 0 or math.max(0, skip + seen - gone - #old), old}
