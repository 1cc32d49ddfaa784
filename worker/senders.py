"""Who may send a request past the server, and the proof of it: a TOML file, read once at start.

.. code-block:: toml

    [senders.my_app]
    keys = ["<at least 32 characters>"]   # `bksi sender-key my_app` makes one; two while it is being changed
    bk_biz_ids = [1, 2]                    # or "*"
    on_existing = "fail"                   # what a batch means that leaves it out; so for `mode`

With such a file, a message that brings its own batch runs only when it is signed: ``signed`` is a JSON Web Signature
in compact form (RFC 7515), HS256 with the key as it stands, its ``kid`` the sender. Its claims are ``request_id``,
``batch`` and perhaps ``caller`` and ``exp``. The algorithm is pinned (RFC 8725 3.1).
"""

from typing import Annotated, Any, Final

import jwt
from pydantic import Field, StringConstraints

from contract.known import Configured, Known, Name
from contract.message import Caller, TaskArguments
from worker.walk.adopt import NotTrusted

_ALGORITHM: Final = "HS256"
_LEEWAY_S: Final = 5


class Sender(Known):
    """One service that sends messages."""

    keys: Annotated[tuple[Annotated[str, StringConstraints(min_length=32)], ...], Field(min_length=1, repr=False)]


class Senders(Configured):
    """Everybody who may send."""

    senders: dict[Name, Sender] = Field(default_factory=dict)
    """An empty file names nobody, so no direct message runs."""

    def open(self, arguments: TaskArguments) -> tuple[TaskArguments, Sender]:
        """What a signed message asks for, as if it had been sent plainly, and who asks.

        Raises:
            NotTrusted: unsigned, signed by nobody known, expired, or for another request or application.
        """
        if arguments.signed is None:
            raise NotTrusted("the message is not signed")
        try:
            name, claims = self._verified(arguments.signed)
            caller = Caller.model_validate({"bk_app_code": name, **(claims.get("caller") or {})})
            opened = TaskArguments(request_id=claims["request_id"], batch=claims["batch"], caller=caller)
        except (jwt.PyJWTError, LookupError, TypeError, ValueError, RecursionError):
            raise NotTrusted("the message's signature is not valid") from None
        if opened.request_id != arguments.request_id or caller.bk_app_code != name or opened.batch is None:
            raise NotTrusted("the message's signature is for something else")
        return opened, self.senders[name]

    def _verified(self, token: str) -> tuple[str, dict[str, Any]]:
        name = jwt.get_unverified_header(token)["kid"]
        *older, last = self.senders[name].keys
        for key in older:
            try:
                return name, self._claims(token, key)
            except jwt.InvalidSignatureError:
                continue
        return name, self._claims(token, last)

    @staticmethod
    def _claims(token: str, key: str) -> dict[str, Any]:
        return jwt.decode(token, key, algorithms=[_ALGORITHM], leeway=_LEEWAY_S, options={"verify_aud": False})
