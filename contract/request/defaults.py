"""What a body says by leaving it out, where an operator has decided otherwise than this interface."""

from collections.abc import Mapping
from typing import Any, Literal

OnExisting = Literal["reuse", "fail"]
Mode = Literal["atomic", "partial"]


def with_defaults(body: dict[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """`body` with the fields of `defaults` that it leaves out; ``null`` equals absent."""
    missing = {name: value for name, value in defaults.items() if body.get(name) is None}
    return {**body, **missing} if missing else body
