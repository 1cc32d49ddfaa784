"""HTTP: the paths that BlueKing callers use today, our own ``/v1``, and the operator's. Nothing is decided here."""
