"""ESB's signed requests: the secret stays at home, and what was captured cannot be sent again.

The query has ``bk_app_code``, ``bk_timestamp`` (Unix seconds), ``bk_nonce`` and ``bk_signature``: base64 of HMAC-SHA1
over ``METHOD path ? key=value & …`` without the blanks, keys sorted, ``bk_signature`` left out, and the body's text as
one more pair, ``data``, unless it is empty. The key is one of the application's ``signing_keys``, which the file of
applications keeps as they are: a signature cannot be checked with the hash of a secret.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from contract.credentials import SIGNATURE

VALID_S: Final = 300
"""How far a timestamp may be from now, either way."""
# None of them can hold what divides the signed text, so that one text has one meaning.
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_NONCE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_STAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A request that carries a signature, which is not yet checked."""

    bk_app_code: str
    bk_timestamp: str
    bk_nonce: str
    bk_signature: str
    signed: bytes
    """What the signature is over."""
    is_unambiguous: bool
    """No other query and body has the same text."""

    def is_by(self, keys: Iterable[str], now: float) -> bool:
        """Whether one of `keys` has signed it, around `now` (Unix seconds); each is tried, in constant time."""
        matches = [hmac.compare_digest(_sign(key, self.signed), self.bk_signature.encode()) for key in keys]
        return any(matches) and self._is_well_formed and abs(int(self.bk_timestamp) - now) <= VALID_S

    @property
    def _is_well_formed(self) -> bool:
        return bool(
            self.is_unambiguous
            and _CODE.fullmatch(self.bk_app_code)
            and _NONCE.fullmatch(self.bk_nonce)
            and _STAMP.fullmatch(self.bk_timestamp)
        )


def signed_call(method: str, path: str, query: Mapping[str, str], body: bytes) -> SignedCall | None:
    """The signature that a request carries; None without one."""
    signature = query.get(SIGNATURE)
    if signature is None:
        return None
    pairs = {key: value for key, value in query.items() if key != SIGNATURE}
    divides = any(mark in text for pair in pairs.items() for text in pair for mark in "&=")
    is_unambiguous = "data" not in pairs and not divides
    if body:
        pairs["data"] = body.decode("utf-8", "replace")
    text = f"{method}{path}?" + "&".join(f"{key}={pairs[key]}" for key in sorted(pairs))
    code, timestamp, nonce = (query.get(name, "") for name in ("bk_app_code", "bk_timestamp", "bk_nonce"))
    return SignedCall(code, timestamp, nonce, signature, text.encode("utf-8", "replace"), is_unambiguous)


def _sign(key: str, text: bytes) -> bytes:
    return base64.b64encode(hmac.new(key.encode(), text, hashlib.sha1).digest())
