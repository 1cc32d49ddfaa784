"""What was set aside, for an operator to look at, send again or drop.

These are messages that no task may see, and requests that were given up after too many starts.
"""
