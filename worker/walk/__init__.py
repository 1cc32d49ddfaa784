"""One message's way through the worker: take it, adopt it where it came bare, run it."""
