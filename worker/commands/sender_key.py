"""`bksi sender-key`: a key for a service that signs its messages."""


def sender_key(app_code: str) -> None:
    """Make a key for the application APP_CODE: print its entry for the file of senders (BKSI_SENDERS_FILE)."""
    import secrets  # noqa: PLC0415 - keep `bksi --help` quick

    from contract.known import require_name  # noqa: PLC0415 - same

    require_name(app_code)
    print(f'[senders.{app_code}]\nkeys = ["{secrets.token_urlsafe(32)}"]\nbk_biz_ids = []')  # noqa: T201 - a command speaks
