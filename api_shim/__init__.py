"""The thin submitter: HTTP in front, one Redis script behind, no SQL and no template rules."""
