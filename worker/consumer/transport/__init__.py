r"""A Redis transport for Celery that loses nothing, takes many messages at once, and lets no message hurt.

Anything that can write a list can send: the wire format is kombu's, so stock Celery senders, `celery inspect` and
Flower need nothing of this. Only who consumes uses it (`worker.consumer.transport.configure`).

What kombu does, and why not
    kombu pops with BRPOP and notes the message as unacknowledged in a second round trip: a process that dies between
    the two has lost it. A third round trip acknowledges. What a dead worker held comes back by the clock alone, after
    an hour by default. And a message that Celery does not expect (no ``id``, a body that is no triple) stops the
    worker, and the next one, for good.

Taking
    A message leaves the queue and is recorded under its consumer in one step, in one of two ways.

    * **TURN**, a script, first files the acknowledgements that have gathered, then moves up to *n* messages, *n* being
      the prefetch credit that is left. A busy worker needs one such round trip per turn of its event loop, however
      many messages and acknowledgements that covers.
    * **BLMOVE** ``queue → inbox`` is how an idle consumer waits: Redis itself moves the next message into the
      consumer's inbox the moment it is pushed, and the reply is the wake-up call. No polling, one worker woken per
      message, and nothing in the reply that could be lost with it: the next TURN takes from the inbox first.

    What came in either way is worked on first: the next TURN, and the next wait, come once half of what may be in hand
    has ended, or all that is, or after a millisecond for each message in hand, but 10 to 50. So a message that came
    alone is filed and acknowledged in one TURN, which its lease need not wait behind; and what comes meanwhile is taken
    together, which costs a fraction of taking each alone.

    BLMOVE waits for one list. A queue's other priorities, and other queues, are looked at by every TURN, hence at the
    latest when BLMOVE returns empty-handed: after 1 s, or after 0.1 s where there are several queues.

Where a message is
    ==========================  ========================================================================================
    the queue's list            kombu's own, ``<queue>`` and ``<queue>\x06\x16<priority>``
    ``bksi:inbox:<consumer>``   list: what BLMOVE moved and no TURN has taken yet
    ``bksi:unacked:<consumer>`` hash: ``"<number> <list it came from>"`` → the raw message; that field is the delivery
                                tag. Besides ``seq``, the last number, and ``inbox``, the list BLMOVE reads
    ``bksi:consumers``          sorted set: consumer → until when it counts as alive (ms, Redis' clock)
    ``bksi:parked``             list: messages for a newer version of a task that is known here, the oldest last
    ``bksi:dead``               list of JSON dead letters, newest first (`worker.consumer.transport.letter.dead_letter`)
    ==========================  ========================================================================================

    At every moment a message is in exactly one of them. A consumer is one channel; its name is
    ``<host>:<pid>:<random>`` and is never used twice.

Coming back
    A consumer moves its deadline in ``bksi:consumers`` ahead from its event loop, every quarter of `owner_ttl_ms`, and
    looks for deadlines that have passed. What such a consumer held goes back to the head of its queue, oldest first,
    in one script: any number of rescuers at once do it once. A consumer that was only frozen finds that its
    acknowledgements acknowledge nothing. Whoever has just connected rescues nobody for a third of `owner_ttl_ms`: a
    Redis that was away has heard from nobody, and by then all who live have beaten again. So a dead worker's messages
    are back after 5/4 of `owner_ttl_ms` at most, where one of the others lives on.

    On shutdown a consumer hands back what it holds. When its connection breaks instead, it leaves the rest to the
    deadline, and what still finishes until then is acknowledged through the next connection.

    What a task rejects with ``requeue`` stays recorded for a second and then goes behind what waits: it is not dropped,
    and it cannot spin.

    What is for a newer version of a task that is known here is parked, with its task's name, so that nothing waits
    behind it. At each beat a consumer looks at a thousand of the parked, the oldest first, and puts back into their
    queue those whose task it knows: only a newer worker finds any. 10,000 may be parked, for seven days each; past
    either they are dead letters.

Trouble
    Errors of the connection, a loading Redis included, reach Celery, which reconnects. A Redis that refuses the scripts
    (read-only, out of memory, no disk) is asked again every second. Taking is allowed when memory is full: it only
    moves.

Not here
    Redis Cluster and Sentinel; fanout (remote control, events) and consumers without acknowledgements (replies to
    `inspect`), which are kombu's own code and untouched.
"""
