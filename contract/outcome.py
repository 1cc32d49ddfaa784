"""What became of one instance of a request, and why: values to store, rendered when somebody reads.

Nothing here holds a value that the caller sent: paths, numbers, ids.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Protocol, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict

from contract.codes import Code, Language, Reason, Refused, text


class Outcome(StrEnum):
    """What became of one instance, or of one process under it."""

    CREATED = "created"
    EXISTING = "existing"
    HEALED = "healed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_success(self) -> bool:
        """Whether the rows that were asked for are there."""
        return self in (Outcome.CREATED, Outcome.EXISTING, Outcome.HEALED)


def _plain(args: Iterable[object]) -> tuple[object, ...]:
    """Arguments as JSON can keep them, so that storing a failure never fails."""
    return tuple(
        arg if isinstance(arg, int | str) else _plain(arg) if isinstance(arg, list | tuple) else str(arg)
        for arg in args
    )


MessageArgs = Annotated[tuple[Any, ...], BeforeValidator(_plain)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Warning_(_Frozen):  # noqa: N801 - `Warning` is a builtin
    """Something that was accepted but not taken as sent: a field path, never the value.

    `reason` is a `contract.codes.Reason`, or a text of its own.
    """

    path: str
    reason: str

    def document(self, language: Language = "en") -> dict[str, str]:
        """The warning as v1 shows it."""
        try:
            reason = Reason(self.reason)
        except ValueError:
            return {"path": self.path, "reason": self.reason, "message": self.reason}
        message = reason.english if language == "en" else reason.chinese
        return {"path": self.path, "reason": self.reason, "message": message}


class _Said(Protocol):
    @property
    def code(self) -> int: ...
    @property
    def message_args(self) -> tuple[Any, ...]: ...
    @property
    def path(self) -> str: ...


class Problem(_Frozen):
    """A code with what its text needs: a `Refused` that can be stored."""

    code: int = 0
    message_args: MessageArgs = ()
    path: str = ""

    @classmethod
    def of(cls, said: _Said) -> "Problem":
        """The code, the arguments and the path of a `Refused`, or of another problem."""
        return Problem(code=said.code, message_args=said.message_args, path=said.path)

    def message(self, language: Language = "en") -> str:
        """The text to show."""
        return text(Code(self.code), self.message_args, language, path=self.path)

    def document(self, language: Language = "en") -> dict[str, Any]:
        """The problem as an entry of v1's ``errors``."""
        return {"path": self.path, "code": self.code, "message": self.message(language)}


class ProcessItem(_Frozen):
    """One process of an instance."""

    bk_process_id: int | None = None
    process_template_id: int = 0
    bk_process_name: str | None = None
    outcome: Outcome


class Item(Problem):
    """One instance of the request. `data` of the envelope holds the same ids in the same order."""

    index: int
    bk_host_id: int
    outcome: Outcome
    service_instance_id: int | None = None
    processes: tuple[ProcessItem, ...] = ()
    warnings: tuple[Warning_, ...] = ()
    """What this one instance could not have as asked: `Reason.DIFFERS`, `Reason.DUPLICATE_IN_REQUEST`."""

    @classmethod
    def failed(cls, index: int, bk_host_id: int, refused: Refused, *, outcome: Outcome = Outcome.FAILED) -> Self:
        """An instance that was not created, and why.

        With `Outcome.SKIPPED` nothing is wrong with the instance itself: `refused` is what ended the whole request.
        """
        return cls(index=index, bk_host_id=bk_host_id, outcome=outcome, **Problem.of(refused).model_dump())

    def repeated_at(self, index: int) -> Self:
        """The item of a later instance of the same request with the same key and content: the same ids, existing."""
        warning = Warning_(path=f"instances[{index}]", reason=Reason.DUPLICATE_IN_REQUEST)
        processes = tuple(process.model_copy(update={"outcome": Outcome.EXISTING}) for process in self.processes)
        return self.model_copy(
            update={"index": index, "outcome": Outcome.EXISTING, "processes": processes, "warnings": (warning,)}
        )

    def document(self, language: Language = "en") -> dict[str, Any]:
        """The item as v1 shows it."""
        return {
            "index": self.index,
            "bk_host_id": self.bk_host_id,
            "outcome": self.outcome.value,
            "service_instance_id": self.service_instance_id,
            "processes": [process.model_dump(mode="json") for process in self.processes],
            **super().document(language),
            "warnings": [warning.document(language) for warning in self.warnings],
        }
