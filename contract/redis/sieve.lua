#!lua flags=no-writes,allow-oom
-- What follows on `after` in an application's requests, or with '' all. status, biz, module: what is wanted; '': any
-- -> how many were looked at, the last of them ('' for none), then those that match
local ids = following(of_app, after, count)
local room, found, wanted = tonumber(most), {0, ''}, {status, biz, module}
local function about(id)
  local head = redis.call('GETRANGE', result_prefix .. id, 0, 8191)
  if head ~= '' then
    return {string.match(head, '"status":"([A-Z_]+)"') or status, string.match(head, '"bk_biz_id":(%d+)') or biz,
      string.match(head, '"bk_module_id":(%d+)') or module}
  end
  local entry = redis.call('HMGET', req_prefix .. id, 'biz', 'module')
  return entry[1] and {'unfinished', entry[1], entry[2]}
end
for _, id in ipairs(ids) do
  if #found - 2 == room then break end
  found[1], found[2] = found[1] + 1, id
  local said, matches = about(id), true
  for i = 1, 3 do matches = matches and said and (wanted[i] == '' or wanted[i] == said[i]) end
  if matches then found[#found + 1] = id end
end
return found
