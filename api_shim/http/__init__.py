"""The HTTP door: bytes in, envelopes out. It decides nothing about instances."""
