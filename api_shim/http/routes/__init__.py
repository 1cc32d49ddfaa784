"""The paths, each with what it takes and answers."""
