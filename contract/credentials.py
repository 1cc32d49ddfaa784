"""The names under which a request says who calls, all of them ESB's common arguments or what signs them."""

from typing import Final

APP_CODE: Final = ("bk_app_code", "app_code")
APP_SECRET: Final = ("bk_app_secret", "app_secret")
USERNAME: Final = ("bk_username", "username")
"""Each with its older spelling."""
TOKENS: Final = ("bk_token", "bk_ticket", "access_token")
SIGNATURE: Final = "bk_signature"
SIGNATURE_KEYS: Final = frozenset(("bk_app_code", "bk_timestamp", "bk_nonce", SIGNATURE))
"""All that a signed call says of its caller; see `api_shim.identity.signature`."""

SECRETS: Final = (*APP_SECRET, *TOKENS, SIGNATURE)
"""Whose values are never stored, sent, logged or shown."""
IDENTITY_KEYS: Final = SIGNATURE_KEYS.union(APP_CODE, APP_SECRET, USERNAME, TOKENS)
"""Never part of a batch, a warning or a stored payload."""
