"""What was created here is created in CMDB as well, once: the way from the outbox to CMDB and back with its ids."""
