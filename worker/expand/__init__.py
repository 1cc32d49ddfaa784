"""Pure rules: a catalogue slice and a batch in, rows or a refusal out. No I/O, no clock, no Celery."""
