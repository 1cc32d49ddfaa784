"""CMDB's error numbers, their texts in English and Chinese, and `Refused`, the one way to say no.

Numbers and the order of arguments are CMDB's; 119000x are ours (`1190001` … `1190014`). Texts are one level
deep: an argument is a field path (``instances[3].processes[0].process_info.timeout``) or a plain value that is safe
to show, never what the caller sent.
"""

from enum import IntEnum
from typing import Final, Literal

Language = Literal["en", "zh"]


class Code(IntEnum):
    """Every code an envelope may carry."""

    SUCCESS = 0
    STILL_RUNNING = 1190001
    REQUEST_NOT_FOUND = 1190002
    RESULT_EXPIRED = 1190003
    IDEMPOTENCY_CONFLICT = 1190004
    QUEUE_FULL = 1190006
    BROKER_UNAVAILABLE = 1190007
    CANCELLED = 1190008
    DEADLINE_EXCEEDED = 1190009
    DEAD_LETTER = 1190010
    PARTLY_FAILED = 1190011
    BODY_TOO_LARGE = 1190013
    UNSUPPORTED_MEDIA_TYPE = 1190014
    BODY_NOT_JSON = 1199000
    BODY_UNREADABLE = 1199004
    BODY_EMPTY = 1199005
    PARAM_INVALID = 1199006
    PARAM_NOT_TEXT = 1199007
    PARAM_NOT_SPECIFIED = 1199008
    PARAM_NOT_INT = 1199009
    PARAM_REQUIRED = 1199010
    VALUE_INVALID = 1199011
    DUPLICATE = 1199014
    PARAM_NOT_BOOL = 1199025
    IDENTITY_MISSING = 1199027
    TOO_MANY = 1199035
    NO_PERMISSION_TEXT = 1199047
    RATE_LIMITED = 1199997
    UNKNOWN = 1199998
    INTERNAL = 1199999
    GATEWAY_AUTH_FAILED = 1100004
    MODULE_NOT_FOUND = 1101034
    BIND_PORT_MISSING = 1107014
    BIND_PROTOCOL_MISSING = 1107015
    CREATE_PROCESS_FAILED = 1108008
    AUDIT_FAILED = 1109001
    HOST_NOT_IN_MODULE = 1110056
    MODULE_NOT_IN_BIZ = 1113004
    INSTANCE_EXISTS = 1113016
    TEMPLATE_NAME_DUPLICATE = 1113019
    TEMPLATE_FUNC_DUPLICATE = 1113020
    APP_UNAUTHENTICATED = 1306401
    APP_AUTH_HEADER_INVALID = 1306406
    NO_PERMISSION = 9900403


# (English, Chinese); {0} {1} are the arguments in CMDB's order.
TEXTS: Final[dict[Code, tuple[str, str]]] = {
    Code.SUCCESS: ("success", "success"),
}


def text(code: Code, args: tuple[object, ...] = (), language: Language = "en") -> str:
    """Render the message of `code` in `language`."""
    return TEXTS[code][0 if language == "en" else 1].format(*args)


class Refused(Exception):  # noqa: N818 - an error name says the fact: the request was refused
    """A request, or one instance of it, cannot be carried out, and why.

    Args:
        code: CMDB's number.
        args: what the message needs, in CMDB's order. Never a value the caller sent.
        path: the field, from the body's root (``instances[0].bk_host_id``); empty when no single field is to blame.
    """

    def __init__(self, code: Code, *message_args: object, path: str = "") -> None:
        super().__init__(code, message_args, path)
        self.code = code
        self.message_args = message_args
        self.path = path

    def message(self, language: Language = "en") -> str:
        """The text to show."""
        return text(self.code, self.message_args, language)
