"""Catalogues and requests for property tests: few hosts, names and ids, so that they meet.

An example is made of a string of bytes, the `Tape`: every decision reads one byte, 0 is the plainest choice, and what
lies beyond the end reads as 0. Hypothesis draws and shrinks one string of bytes many times faster than hundreds of
decisions in nested strategies; that is what lets a thousand sequences of requests run with every change.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from worker.expand.bound import Expansion
from worker.expand.catalogue import BindTemplate, Host, Module, ProcessTemplate, TemplateProperty
from worker.expand.expand import CatalogueSlice

T = TypeVar("T")

thousand = settings(max_examples=10 * settings().max_examples)
"""Examples, for what the project promises about any sequence of requests; `quick` and `ci` take fewer and more."""

HOSTS = {
    1: Host(1, "10.0.0.1"),
    2: Host(2, "10.0.0.2,10.0.1.2", "203.0.113.2", "fd00::2", "2001:db8::2"),
    3: Host(3, "", "", "fd00:0000:0000:0000:0000:0000:0000:0003"),
}
UNBOUND = CatalogueSlice(module=Module(60, 1, "hand made"), hosts=HOSTS)

GOOD_PORTS = ("80", "443", "8080-8089", "65535")
BAD_PORTS = ("", "0", "80,443", "90-80", "٨٠", None)
NAMES = ("nginx", "redis", "名", "job_java")
REGEXES = ("", "-c x", None)
_ABSENT = object()


class Tape:
    """Decisions, read from bytes."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def below(self, end: int) -> int:
        """A number from 0 to ``end - 1``."""
        return next(self._bytes, 0) % end

    def one(self, options: Sequence[T]) -> T:
        """One of `options`, the first being the plainest."""
        return options[self.below(len(options))]

    def some(self, options: Iterable[T], most: int, least: int = 0) -> list[T]:
        """From `least` to `most` different ones, in any order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(least + self.below(most - least + 1))]

    def many(self, make: Callable[["Tape"], T], most: int, least: int = 0) -> list[T]:
        """From `least` to `most` of what `make` reads."""
        return [make(self) for _ in range(least + self.below(most - least + 1))]

    def sparse(self, **options: Sequence[Any]) -> dict[str, Any]:
        """One of the options for each name, or nothing at all; one byte decides both."""
        found = {name: self.one((_ABSENT, *values)) for name, values in options.items()}
        return {name: value for name, value in found.items() if value is not _ABSENT}


def examples(make: Callable[[Tape], T], size: int = 400) -> st.SearchStrategy[T]:
    """What `make` reads from a tape of `size` bytes."""
    return st.binary(min_size=size, max_size=size).map(lambda data: make(Tape(data)))


# Catalogues -----------------------------------------------------------------------------------------------------------


def _column(tape: Tape, *values: Any) -> TemplateProperty:
    return TemplateProperty(tape.one(values), tape.one((False, True)))


def _bind_template(tape: Tape, row_id: int, ports: Sequence[str]) -> BindTemplate:
    """A row that CMDB accepts."""
    is_v6 = tape.one((False, False, True))
    return BindTemplate(
        row_id,
        _column(tape, *(("5", "6", "7", "8", "", None) if is_v6 else ("1", "2", "3", "4", "", None))),
        _column(tape, *ports),
        _column(tape, *("34" if is_v6 else "12")),
        _column(tape, True, False, None),
    )


def _process_template(tape: Tape, template_id: int, ports: Sequence[str] = GOOD_PORTS) -> ProcessTemplate:
    """A process template as CMDB has them: names locked, the rest locked or not."""
    return ProcessTemplate(
        template_id,
        {
            "bk_process_name": TemplateProperty(NAMES[template_id], locked=True),
            "bk_func_name": TemplateProperty("java", locked=True),
            "bk_start_param_regex": TemplateProperty(f"-{template_id}", tape.one((False, True))),
            "timeout": _column(tape, None, 10, 10_000),
            "user": _column(tape, None, "", "root"),
        },
        tuple(_bind_template(tape, row_id, ports) for row_id in tape.some((1, 2, 3), most=3)),
    )


def bound_catalogue(tape: Tape) -> CatalogueSlice:
    """A module with one to three process templates, a few with a list of ports, which no instance can have."""
    ids = sorted(tape.some((1, 2, 3), most=3, least=1))
    templates = tuple(_process_template(tape, id_, (*GOOD_PORTS * 4, "80,443")) for id_ in ids)
    return CatalogueSlice(Module(60, 1, "job", 7), 1, tuple(map(Expansion, templates)), HOSTS)


def catalogue(tape: Tape) -> CatalogueSlice:
    """A module with a service template, or without."""
    return tape.one((UNBOUND, None)) or bound_catalogue(tape)


# Requests, good and bad -----------------------------------------------------------------------------------------------


def _is_rare(tape: Tape) -> bool:
    return tape.below(12) == 11


def _bind_row(tape: Tape) -> dict[str, Any]:
    row = {"port": tape.one(GOOD_PORTS), "protocol": tape.one("12")} | tape.sparse(
        template_row_id=(1, 2, 3, None, 0), ip=("", "127.0.0.1", "10.0.0.1", None), enable=(True, False, None)
    )
    if _is_rare(tape):
        row |= tape.sparse(
            template_row_id=(-1, 1234), ip=("::1", "FD00::0:2", "3"), port=BAD_PORTS, protocol=("3", "9", None)
        )
    return row


def _process(tape: Tape) -> dict[str, Any]:
    if _is_rare(tape):
        return {"process_template_id": tape.below(4)}
    info = {"bk_process_name": tape.one(NAMES), "bk_func_name": tape.one(NAMES)} | tape.sparse(
        bk_start_param_regex=REGEXES, timeout=(None, 1, 10, 30), priority=(None, -100, 5), user=(None, "", "root")
    )
    if _is_rare(tape):
        info |= tape.sparse(bk_process_name=(" nginx ", "", None), timeout=(0,), user=("x" * 257,))
    info |= {"bind_info": tape.many(_bind_row, most=2)}
    return {"process_template_id": tape.below(4), "process_info": info}


def _instance(tape: Tape) -> dict[str, Any]:
    processes = [_process(tape) for _ in range(tape.one((1, 2, 1, 2, 1, 2, 3, 0)))]
    return {"bk_host_id": tape.one((1, 2, 3)), "processes": processes} | tape.sparse(
        service_instance_name=("a", "b", "", None)
    )


def body(tape: Tape) -> dict[str, Any]:
    """A request of one to four instances in module 60, good ones and bad ones."""
    return _request(tape.many(_instance, most=4, least=1), tape)


def _request(instances: list[dict[str, Any]], tape: Tape) -> dict[str, Any]:
    return {
        "bk_biz_id": 1,
        "bk_module_id": 60,
        "instances": instances,
        "mode": tape.one(("partial", "atomic")),
        "on_existing": tape.one(("reuse", "reuse", "reuse", "fail")),
    }


# Requests that are well formed and overlap: the same instances with other processes, rows and values ---------------


def _good_row(tape: Tape, row_id: int) -> dict[str, Any]:
    row = {"template_row_id": row_id, "port": tape.one(GOOD_PORTS), "protocol": tape.one("12")}
    return row | tape.sparse(ip=("", "10.0.0.1"), enable=(True, False))


def _good_info(tape: Tape) -> dict[str, Any]:
    rows = [_good_row(tape, row_id) for row_id in tape.some((1, 2, 3), most=3)]
    return {"bind_info": rows} | tape.sparse(timeout=(1, 30), bk_start_param_regex=REGEXES)


def _named_instance(tape: Tape, processes: list[dict[str, Any]]) -> dict[str, Any]:
    """Mostly of one name, so that instances meet."""
    return {"bk_host_id": tape.one((1, 2, 3)), "processes": processes} | tape.one(
        ({"service_instance_name": "a"},) * 3 + ({},)
    )


def _unbound_instance(tape: Tape) -> dict[str, Any]:
    names = tape.some(NAMES, most=3, least=1)
    functions = tape.some(NAMES, most=len(names), least=len(names))
    processes = [
        {"process_info": {"bk_process_name": name, "bk_func_name": function} | _good_info(tape)}
        for name, function in zip(names, functions, strict=True)
    ]
    return {"bk_host_id": tape.one((1, 2, 3)), "processes": processes} | tape.sparse(
        service_instance_name=("a", "a", "a")
    )


def _bound_instance(tape: Tape) -> dict[str, Any]:
    processes = [{"process_template_id": id_, "process_info": _good_info(tape)} for id_ in tape.some((1, 2, 3), most=2)]
    return {"bk_host_id": tape.one((1, 2, 3)), "processes": processes}


Asked = tuple[CatalogueSlice, dict[str, Any]]
"""A request, and the catalogue as it was when a worker took it up."""


def overlapping(most: int, least: int = 1) -> Callable[[Tape], list[Asked]]:
    """Requests to one module that may ask for different things under one key: who comes first is stored.

    In a module with templates these come, go and change their names between the requests, so that one leaves a past
    behind that another one completes. A request may come twice.
    """

    def make(tape: Tape) -> list[Asked]:
        is_bound = tape.one((False, True))
        templates = [_process_template(tape, id_) for id_ in (1, 2, 3)] if is_bound else []
        requests: list[Asked] = []
        for _ in range(least + tape.below(most - least + 1)):
            if requests and not tape.below(6):
                requests.append(tape.one(requests))
                continue
            seen = UNBOUND
            if is_bound:
                ids = sorted(tape.some((1, 2, 3), most=3, least=1))
                known = tuple(_as_it_is_now(tape, templates[id_ - 1]) for id_ in ids)
                seen = CatalogueSlice(Module(60, 1, "job", 7), 1, tuple(map(Expansion, known)), HOSTS)
            instances = tape.many(_bound_instance if is_bound else _unbound_instance, most=3, least=1)
            requests.append((seen, _request(instances, tape)))
        return requests

    return make


def _as_it_is_now(tape: Tape, template: ProcessTemplate) -> ProcessTemplate:
    """The template with fewer rows, or under another name."""
    rows = template.bind_info[: tape.one((3, 3, 2, 1, 0))]
    name = TemplateProperty(tape.one((*(NAMES[template.id],) * 3, NAMES[0])), locked=True)
    return replace(template, bind_info=rows, properties={**template.properties, "bk_process_name": name})


def _agreeing_instance(tape: Tape) -> dict[str, Any]:
    processes = []
    for name in tape.some(NAMES, most=3, least=1):
        rows = [
            {"template_row_id": id_, "port": str(8000 + id_), "protocol": "1"}
            for id_ in sorted(tape.some((1, 2, 3), most=3))
        ]
        info = {"bk_process_name": name, "bk_func_name": name, "timeout": 30, "bind_info": rows}
        processes.append({"process_info": info})
    return {"bk_host_id": tape.one((1, 2, 3)), "processes": processes} | tape.sparse(
        service_instance_name=("a", "a", "a")
    )


def agreeing(tape: Tape) -> list[Asked]:
    """Requests whose processes and rows are the same wherever their keys are: parts of one whole.

    Any number of them ends in the same rows in any order.
    """
    return [
        (UNBOUND, _request(tape.many(_agreeing_instance, most=3, least=1), tape) | {"on_existing": "reuse"})
        for _ in range(2 + tape.below(4))
    ]
