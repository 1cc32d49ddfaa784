-- Ask a worker to look a request up in PostgreSQL, once at a time. The message is taken next: somebody waits for it.
-- An empty one is sent elsewhere.
-- -> 1 asked · 0 somebody has just asked
if not redis.call('SET', asked, '1', 'NX', 'PX', ttl_ms) then return 0 end
if message ~= '' then redis.call('RPUSH', queue, message) end
return 1
