"""What both sides must agree on: the request, the message, the envelope, the codes and the keys.

Nothing here knows the submitter, the worker, SQL or HTTP status codes.
"""
