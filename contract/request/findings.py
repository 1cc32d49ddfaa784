"""What the reader of a body finds: errors in CMDB's order of checks, and warnings. Both lists are bounded."""

from collections import Counter
from enum import IntEnum

from contract.answer.status import Warning_
from contract.codes import Code, Reason, Refused, Why
from contract.request.batch import MAX_ERRORS, MAX_WARNINGS


class Check(IntEnum):
    """The number of CMDB's check; a lower one is said first (V1, V2, …)."""

    WRONG_TYPE = 1
    NO_INSTANCES = 2
    TOO_MANY = 3
    MODULE = 4
    BUSINESS = 5
    HOST = 9
    NAME = 10
    PROCESS_CREATION = 21
    STRICT = 99


class EnoughErrors(Exception):
    """As many errors are known as are ever listed, and none that is still to be found would come before them."""


class Findings:
    """Errors and warnings of one walk over one body."""

    def __init__(self) -> None:
        self._errors: list[tuple[Check, Refused]] = []
        self._errors_of_check: Counter[Check] = Counter()
        self._warnings: list[Warning_] = []
        self.count = 0
        """How many errors and warnings there were, listed or not."""

    @property
    def errors(self) -> tuple[Refused, ...]:
        """At most `MAX_ERRORS`, by check, then in the order in which they were found."""
        ordered = sorted(self._errors, key=lambda error: error[0])
        return tuple(refused for _, refused in ordered[:MAX_ERRORS])

    @property
    def warnings(self) -> tuple[Warning_, ...]:
        """At most `MAX_WARNINGS`, then one `Reason.MORE`."""
        return tuple(self._warnings)

    def refuse(self, check: Check, code: Code, path: str, why: Why | None = None) -> None:
        """Note an error of the field at `path`; raises `EnoughErrors` as `note` does."""
        self.note(check, Refused.field(code, path, why))

    def note(self, check: Check, refused: Refused) -> None:
        """Note an error.

        Raises:
            EnoughErrors: nothing that is found from now on would be listed.
        """
        self.count += 1
        self._errors_of_check[check] += 1
        if self._errors_of_check[check] <= MAX_ERRORS:
            self._errors.append((check, refused))
        if check is Check.WRONG_TYPE and self._errors_of_check[check] == MAX_ERRORS:
            raise EnoughErrors

    def warn(self, path: str, reason: Reason) -> None:
        """Note that something was accepted but not taken as sent."""
        self.count += 1
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(Warning_(path=path, reason=reason))
        elif len(self._warnings) == MAX_WARNINGS:
            self._warnings.append(Warning_(path="", reason=Reason.MORE))


def shown_key(key: str) -> str:
    """A key as a path may show it: a caller's text, so only when it is short and printable."""
    return key if 0 < len(key) <= 64 and key.isprintable() else "?"
