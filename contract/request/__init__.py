"""What a caller asks for: the batch, how it is read from JSON, and how it is written down."""
