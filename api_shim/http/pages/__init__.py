"""What the paths answer to people: pages for browsers, made on the server, that need no script but to refresh."""
