"""A live system under random faults, and the judge of what came of it."""
