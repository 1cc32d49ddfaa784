"""Read back what was created, over HTTP: CMDB's listings on CMDB's own paths, and ``/v1/service-instances``.

A process of its own with a DSN that can only read, so that the submitter needs no database. It borrows the submitter's
doors (who may call, how an answer is said) and the worker's SQL.
"""
