"""What a caller is told: the report, its items, and what permission is missing."""
