"""The applications that may call: a TOML file, read once at start.

.. code-block:: toml

    [apps.esb_test]
    secrets = ["sha256:<salt>:<digest>"]   # `bksi app-secret esb_test` makes one; two while it is being changed
    bk_biz_ids = [1, 2]                    # or "*"
    rate = "100/second"                    # submits; as the API gateway allows them
    poll_rate = "1000/second"              # everything else
    supplier_accounts = ["0"]
    signing_keys = ["…"]                   # only for an application that signs as ESB's callers may; as they are

    [gateways.bk-apigateway]               # the `kid` of the gateway's tokens
    public_key = "-----BEGIN PUBLIC KEY-----…"
    issuers = ["APIGW"]

Secrets are kept as salted SHA-256. A slow hash protects what people choose; these are 256 random bits that a machine
made, which nobody guesses at any speed, and a slow hash on every request would be a lever for whoever floods us.
"""

import hashlib
import hmac
import re
import secrets
from typing import Annotated, Final

from limits import parse as parse_rate
from pydantic import AfterValidator, Field, StringConstraints

from contract.known import Configured, Known, Name

_HASH: Final = re.compile(r"sha256:([0-9a-f]{32,128}):([0-9a-f]{64})")
# Compared where there is no such application, so that the answer takes as long.
_NOBODY: Final = f"sha256:{'0' * 32}:{'0' * 64}"


def hash_secret(secret: str, salt: str | None = None) -> str:
    """``sha256:<salt>:<digest>`` of `secret`, with a fresh salt of 128 bits unless one is given (hex)."""
    salt = salt or secrets.token_hex(16)
    return f"sha256:{salt}:{hashlib.sha256(bytes.fromhex(salt) + secret.encode('utf-8', 'replace')).hexdigest()}"


def _rate(value: str) -> str:
    parse_rate(value)
    return value


Rate = Annotated[str, AfterValidator(_rate)]
SecretHash = Annotated[str, StringConstraints(pattern=_HASH)]


class Application(Known):
    """One calling application."""

    secrets: tuple[SecretHash, ...] = Field(default=(), repr=False)
    """None: it can only come through the API gateway."""
    rate: Rate = "100/second"
    poll_rate: Rate = "1000/second"
    supplier_accounts: tuple[str, ...] = ("0",)
    signing_keys: tuple[Annotated[str, StringConstraints(min_length=16)], ...] = Field(default=(), repr=False)
    """See `api_shim.identity.signature`."""

    def has_secret(self, secret: str) -> bool:
        """Whether `secret` is one of its own; compares all of them, each in constant time."""
        matches = [_is(secret, stored) for stored in self.secrets or (_NOBODY,)]
        return any(matches)


class Gateway(Configured):
    """An API gateway whose tokens are believed."""

    public_key: str
    issuers: tuple[str, ...] = ("APIGW",)


class Applications(Configured):
    """Everybody who may call."""

    apps: dict[Name, Application]
    gateways: dict[str, Gateway] = Field(default_factory=dict)

    def named(self, bk_app_code: str) -> Application | None:
        """The application, already authenticated by somebody else."""
        return self.apps.get(bk_app_code)

    def authenticated(self, bk_app_code: str, secret: str) -> Application | None:
        """The application, if the secret is its own; an unknown one costs the same time."""
        application = self.apps.get(bk_app_code)
        if application is None:
            _is(secret, _NOBODY)
            return None
        return application if application.has_secret(secret) else None


def _is(secret: str, stored: str) -> bool:
    return hmac.compare_digest(hash_secret(secret, stored.split(":")[1]), stored) and bool(secret)
