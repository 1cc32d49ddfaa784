"""What stands in Redis, under which names, and the scripts that change it."""
