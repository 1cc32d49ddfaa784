"""A CMDB of our own making: answers as the real one is documented to, and fails as the real one is reported to.

It shares no code with what talks to it, keeps its instances in a journal, and may be killed at any moment. Run it as
``python -m chaos.cmdb``, or in a test's own process by `chaos.cmdb.server.CmdbServer`.
"""
