#!lua flags=allow-oom
-- Put back a report that Redis has forgotten; what it knows of the request is as new, or newer. Who waits is told either way.
if redis.call('HEXISTS', req, 'payload') == 0 then redis.call('SET', result, report, 'EX', ttl_s, 'NX') end
redis.call('DEL', unknown)
redis.call('PUBLISH', channel, id)
