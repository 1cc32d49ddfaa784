"""The API gateway's token, ``X-Bkapi-JWT``: who the gateway has authenticated.

RS512 is pinned: a token that names another algorithm (``none``, or HS256 with the public key as its secret) is refused
whatever its header says (RFC 8725 3.1).
"""

from collections.abc import Mapping
from typing import Any, Final

import jwt

from api_shim.identity.applications import Gateway
from api_shim.identity.credentials import Credentials
from contract.codes import Code, Refused

_ALGORITHM: Final = "RS512"
_LEEWAY_S: Final = 5
_MAX_TOKEN: Final = 16 * 1024


def read_token(token: str, gateways: Mapping[str, Gateway]) -> Credentials:
    """What the gateway vouches for by `token`.

    Raises:
        Refused: 1100004; one answer for a bad signature, algorithm, key id, issuer or time.
    """
    try:
        claims = _verified(token, gateways)
    except (jwt.PyJWTError, ValueError, KeyError, TypeError, RecursionError):
        raise Refused(Code.GATEWAY_AUTH_FAILED) from None
    app, user = claims.get("app"), claims.get("user")
    if not isinstance(app, dict) or app.get("verified") is not True or not isinstance(app.get("app_code"), str):
        raise Refused(Code.GATEWAY_AUTH_FAILED)
    username = user.get("username") if isinstance(user, dict) else ""
    return Credentials(app["app_code"], bk_username=username if isinstance(username, str) else "")


def _verified(token: str, gateways: Mapping[str, Gateway]) -> dict[str, Any]:
    if len(token) > _MAX_TOKEN:
        raise ValueError
    gateway = gateways[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token,
        gateway.public_key,
        algorithms=[_ALGORITHM],
        issuer=list(gateway.issuers),
        leeway=_LEEWAY_S,
        options={"require": ["exp", "iss"], "verify_aud": False},
    )
