#!lua flags=allow-oom
-- Nothing more is taken; what is in hand may be finished for `alive_ms` longer. -> how many messages went back
redis.call('ZADD', consumers, clock() + alive_ms, consumer)
return return_inbox(unacked, inbox)
