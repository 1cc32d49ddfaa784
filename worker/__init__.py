"""Everything after the message: expand the templates, insert the rows, save the envelope."""
