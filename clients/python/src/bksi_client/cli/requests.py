"""A request from a file: one JSON document, or lines of JSON, the first of them without the instances."""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from bksi_client.cli.errors import CommandFailed
from bksi_client.types import Batch, Instance


@contextmanager
def reading(file: str) -> Iterator[Batch]:
    """The request in `file`; "-" is the standard input.

    A document that is lines of JSON is read while it is used, so that it may be of any length.

    Raises:
        CommandFailed: it cannot be read, or is no request.
    """
    try:
        if file == "-":
            yield _request(_as_text(sys.stdin), "the standard input")
        else:
            with open(file, encoding="utf-8") as text:  # noqa: PTH123 - as it was typed
                yield _request(text, file)
    except OSError as error:
        # A broken connection has its own words.
        if error.filename is None:
            raise
        raise CommandFailed(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{file}: is not text in UTF-8") from None


def _as_text(stream: TextIO) -> TextIO:
    # Whatever the locale says, JSON is UTF-8.
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="strict")
    return stream


def _request(text: TextIO, name: str) -> Batch:
    first = text.readline()
    head = _loaded_or_none(first)
    if isinstance(head, dict) and "instances" not in head and (second := text.readline()):
        return cast("Batch", {**head, "instances": _lines(second, text, name)})
    document = _loaded(first + text.read(), name)
    if not isinstance(document, dict):
        raise CommandFailed(f"{name}: is no request, which is a JSON object with bk_biz_id, bk_module_id and instances")
    if not isinstance(document.get("instances"), list):
        raise CommandFailed(f"{name}: has no list of instances")
    return cast("Batch", document)


def _lines(second: str, text: Iterable[str], name: str) -> Iterator[Instance]:
    for number, line in enumerate(itertools.chain([second], text), 2):
        if line.strip():
            instance = _loaded(line, f"{name}: line {number}")
            if not isinstance(instance, dict):
                raise CommandFailed(f"{name}: line {number}: is no instance, which is a JSON object with bk_host_id")
            yield cast("Instance", instance)


def _loaded(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise CommandFailed(f"{name}: is not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise CommandFailed(f"{name}: is nested too deeply") from None


def _loaded_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
