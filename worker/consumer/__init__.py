"""How messages reach the tasks: the pool, Celery's consumer, the transports.

The only room that knows private names of Celery and kombu.
"""
