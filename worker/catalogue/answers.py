"""Read what CMDB's own APIs answer: which kind of thing an answer lists, its items, and what had been asked.

A document is one answer of one API, as CMDB sends it. Two keys of our own may stand beside ``result`` and ``data``:
``kind`` says what the items are when they cannot (an empty list), ``request`` holds the body that was asked, which
tells the business where the items do not and of what the answer is a whole listing.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NoReturn

from worker.catalogue.recognise import api_of


class Kind(StrEnum):
    """What an answer lists; the values are the tables' names."""

    SERVICE_TEMPLATE = "service_template"
    PROCESS_TEMPLATE = "process_template"
    MODULE = "module"
    HOST = "host"
    MODULE_HOST_RELATION = "module_host_relation"


API_KINDS: Final[Mapping[str, Kind]] = {
    "list_service_template": Kind.SERVICE_TEMPLATE,
    "list_proc_template": Kind.PROCESS_TEMPLATE,
    "find_module_batch": Kind.MODULE,
    "find_module_with_relation": Kind.MODULE,
    "search_module": Kind.MODULE,
    "list_biz_hosts": Kind.HOST,
    "list_hosts_without_biz": Kind.HOST,
    "find_module_host_relation": Kind.MODULE_HOST_RELATION,
    "find_host_biz_relations": Kind.MODULE_HOST_RELATION,
    "find_host_topo_relation": Kind.MODULE_HOST_RELATION,
}
"""The APIs whose answers can be read, by CMDB's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, its items not yet looked into.

    `source` is the file or API it came from; `path` is where the list stands in the document (``data.info``).
    `kind` is None only when there is no item to recognise it by. `count` is CMDB's total over all pages. `partial` says
    why the answer is known to be no whole listing, if it is.
    """

    source: str
    kind: Kind | None
    items: Sequence[Any]
    path: str = ""
    count: int | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    partial: str = ""

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The items that are objects: what else there is will be refused."""
        return [item for item in self.items if isinstance(item, dict)]


class AnswerRefused(Exception):
    """A document is no answer of CMDB, or one that says no. The text names the document and the reason."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


def read_files(files: Iterable[Path], read: Callable[[bytes, str], Answer]) -> tuple[list[Answer], list[AnswerRefused]]:
    """What `read` makes of each file and its name, and why of those that it refuses or that cannot be read."""
    answers, refused = [], []
    for file in files:
        try:
            answers.append(read(file.read_bytes(), str(file)))
        except AnswerRefused as why:
            refused.append(why)
        except OSError as error:
            refused.append(AnswerRefused(str(file), error.strerror or type(error).__name__))
    return answers, refused


def read_answer(document: bytes, source: str, kind: Kind | None = None) -> Answer:
    """Read one document.

    Args:
        document: JSON text in UTF-8.
        source: how messages name the document.
        kind: what the items are; None = the document's ``kind``, else recognised by the items.

    Raises:
        AnswerRefused: not JSON, not an answer, an answer with ``result`` false, or one of another API.
    """
    return answer_of(parse_json(document, source), source, kind)


def answer_of(body: Any, source: str, kind: Kind | None = None) -> Answer:
    """Like `read_answer`, for a document that is parsed already."""
    answer = listed(body, source)
    said = _said_kind(body.get("kind") if isinstance(body, dict) else None, source)
    return replace(answer, kind=_recognise(answer.items, kind or said, source))


def read_list(document: bytes, source: str) -> Answer:
    """The same for a list of anything; `Answer.kind` is left open."""
    return listed(parse_json(document, source), source)


def listed(body: Any, source: str) -> Answer:
    """Like `read_list`, for a document that is parsed already."""
    envelope = body if isinstance(body, dict) else {}
    _refuse_failure(envelope, source)
    holder, path = (envelope["data"], "data") if "data" in envelope else (body, "")
    count: Any = None
    if isinstance(holder, dict):
        count = holder.get("count")
        name = next((name for name in ("info", "relation", "data") if name in holder), None)
        if name is None:
            raise AnswerRefused(source, "no list of items in data, data.info or data.relation")
        holder, path = holder[name], f"{path}.{name}" if path else name
    items = [] if holder is None else holder
    if not isinstance(items, list):
        raise AnswerRefused(source, f"{path or 'the document'} is not a list")
    request = envelope.get("request")
    if request is not None and not isinstance(request, dict):
        raise AnswerRefused(source, "request is not an object")
    return Answer(
        source=source,
        kind=None,
        items=items,
        path=path,
        count=count if type(count) is int else None,
        request=request or {},
    )


def parse_json(document: bytes, source: str) -> Any:
    """The document's value; raises `AnswerRefused` for what is no JSON in UTF-8."""
    try:
        return json.loads(document.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise AnswerRefused(source, f"not JSON: {problem}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_failure(envelope: Mapping[str, Any], source: str) -> None:
    """Native CMDB says ``bk_error_code``, the gateway and ESB say ``code``."""
    code = envelope.get("code", envelope.get("bk_error_code", 0))
    if envelope.get("result") is False or code not in (0, "0", "00", None):
        message = envelope.get("message", envelope.get("bk_error_msg", ""))
        raise AnswerRefused(source, f"CMDB answered {code}: {message}")


def _said_kind(name: Any, source: str) -> Kind | None:
    if name is None:
        return None
    try:
        return API_KINDS[name] if name in API_KINDS else Kind(name)
    except (TypeError, ValueError):
        known = ", ".join([*API_KINDS, *Kind])
        raise AnswerRefused(source, f"kind is none of {known}") from None


def _recognise(items: Sequence[Any], said: Kind | None, source: str) -> Kind | None:
    """What the items are by what only they have, or else what is `said`; each is held to it later."""
    api = api_of(items, API_KINDS)
    found = None if api is None else API_KINDS.get(api)
    if api is not None and found is None:
        raise AnswerRefused(source, f"these look like the items of {api}, which are no part of a catalogue")
    if said is not None and found not in (None, said):
        raise AnswerRefused(source, f"said to be {said}, but these look like the items of {api}")
    if items and found is None and said is None:
        raise AnswerRefused(source, "the items are no templates, modules, hosts or relations: say `kind`")
    return said or found
