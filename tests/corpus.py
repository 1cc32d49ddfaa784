"""A recorded corpus: what was sent, and what earlier code made of it, byte for byte.

``python -m tests.corpus`` records it anew in ``tests/data/corpus.jsonl.gz``, after a change of what callers are told.
"""

import gzip
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.shapes import Shape
from contract.answer.report import About, Report
from contract.answer.status import Warning_, failed_item
from contract.codes import Refused
from contract.message import Caller, Payload
from contract.request.parse import BatchRefused, parse
from devstack import sample
from tests.strategies import UNBOUND, Asked, Tape, body, catalogue, overlapping
from tests.unit.worker.postgres.test_columns import OWN, rows_of
from worker.expand.bound import Expansion
from worker.expand.catalogue import Host, Module, ProcessTemplate, TemplateProperty
from worker.expand.expand import CatalogueSlice, expand
from worker.expand.plan import Plan
from worker.expand.reconcile import ExistingInstance, ExistingProcess
from worker.expand.templates import parse_process_template
from worker.postgres.columns import NewRows
from worker.postgres.draft import WriteRequest, draft

FILE = Path(__file__).parent / "data" / "corpus.jsonl.gz"
REQUEST_ID = "e43da4ef221746868dc4c837d36f3807"
CALLER = Caller(bk_app_code="app", bk_username="admin")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of one request: refusals, or warnings, pending entry, report, and the statement's arguments."""
    try:
        parsed = parse(asked["body"], strict=asked["strict"])
    except BatchRefused as refused:
        return {"errors": [[int(error.code), error.path, error.message()] for error in refused.errors]}
    stored = Payload.write(REQUEST_ID, parsed.batch, CALLER, parsed.warnings)
    return {"payload": _settled(json.loads(stored)), **_written(asked, Payload.load(stored))}


def _settled(payload: dict[str, Any]) -> dict[str, Any]:
    """Without what the batch's defaults say as well; each instance with its own processes."""
    batch, defaults = payload["batch"], {"on_existing": "reuse", "mode": "atomic", "strict": False}
    lists = batch.pop("processes")
    batch["instances"] = [
        [host, name, None if place is None else lists[place]] for host, name, place in batch["instances"]
    ]
    payload["batch"] = {name: value for name, value in batch.items() if defaults.get(name, ...) != value}
    return payload


def _written(asked: Mapping[str, Any], payload: Payload) -> dict[str, Any]:
    seen, batch = _catalogue(asked), payload.batch
    hosts = [instance["bk_host_id"] for instance in asked["body"]["instances"]]
    about = _about(asked, payload.warnings)
    try:
        plan = expand(seen, batch, REQUEST_ID)
    except Refused as refused:
        return {"report": Report.failed(refused, hosts, **about).dump().decode()}
    about = _about(asked, (*payload.warnings, *(Warning_(path=path, reason=reason) for path, reason in plan.warnings)))
    if plan.refused and batch.mode == "atomic":
        return {"report": Report.refused(plan.refused, hosts, **about).dump().decode()}
    refused = [failed_item(index, hosts[index], why) for index, why in plan.refused.items()]
    request = WriteRequest(
        REQUEST_ID,
        plan,
        CALLER,
        lambda items: Report.settled([*items, *refused], **about),
        on_existing=batch.on_existing,
        mode=batch.mode,
        hosts=seen.hosts,
    )
    found = {"preview": plan.preview()} | {
        name: _drafted(request, known) for name, known in (("new", {}), ("known", _halves(request, plan)))
    }
    return json.loads(json.dumps(found))


def _drafted(request: WriteRequest, known: Mapping[Any, ExistingInstance]) -> dict[str, Any]:
    rows = NewRows()
    made = draft(request, known, count(1), count(1), rows)
    return {
        "report": request.build_report(made.items).dump().decode(),
        "rows": [_rows(argument) for argument in rows.arguments()],
        "count": made.row_count,
        "ids": [made.created_ids, sorted(made.healed)],
    }


def _rows(argument: str) -> list[Any]:
    """Rows by what they share, each with its own columns, in any order; without the place of bind rows."""
    found: dict[str, list[Any]] = {}
    for row in rows_of(argument):
        row.pop("position", None)
        names = [name for name in row if name in OWN]
        own = [row[name] for name in names]
        shared = row | dict.fromkeys(names)
        found.setdefault(json.dumps(shared), [shared, []])[1].append(tuple(own))
    return [[shared, sorted(own)] for shared, own in found.values()]


def _halves(request: WriteRequest, plan: Plan) -> dict[Any, ExistingInstance]:
    """A past in which every second instance was created by half, and otherwise."""
    known = {}
    for planned in plan.instances[::2]:
        processes = tuple(
            ExistingProcess(
                1000 + place, process.process_template_id, process.values | {"user": "another"}, process.bind_info[1:]
            )
            for place, process in enumerate(planned.processes[:2])
        )
        known[request.key(planned)] = ExistingInstance(500 + planned.index, "another", processes)
    return known


def _about(asked: Mapping[str, Any], warnings: tuple[Warning_, ...]) -> About:
    sent = asked["body"]
    return {
        "request_id": REQUEST_ID,
        "bk_app_code": "app",
        "bk_biz_id": sent["bk_biz_id"],
        "bk_module_id": sent["bk_module_id"],
        "created_at": AT,
        "finished_at": AT,
        "attempts": 1,
        "warnings": warnings,
    }


def _catalogue(asked: Mapping[str, Any]) -> CatalogueSlice:
    hosts = {host[0]: Host(*host) for host in asked["hosts"]}
    if not asked["templates"]:
        return CatalogueSlice(Module(60, 1, "hand made"), hosts=hosts)
    templates = tuple(Expansion(parse_process_template(id_, properties)) for id_, properties in asked["templates"])
    return CatalogueSlice(Module(60, 1, "job", 7), 1, templates, hosts)


# Recording ------------------------------------------------------------------------------------------------------------


def _shown(seen: CatalogueSlice) -> list[Any]:
    """Templates as CMDB shows them."""

    def column(found: TemplateProperty) -> dict[str, Any]:
        return {"value": found.value, "as_default_value": found.locked}

    def shown(template: ProcessTemplate) -> dict[str, Any]:
        rows = [
            {"row_id": row.row_id} | {name: column(getattr(row, name)) for name in ("ip", "port", "protocol", "enable")}
            for row in template.bind_info
        ]
        return {name: column(found) for name, found in template.properties.items()} | {"bind_info": {"value": rows}}

    return [[template.id, shown(template)] for template in seen.process_templates]


def _asked(seen: CatalogueSlice, sent: object, *, strict: bool = False) -> dict[str, Any]:
    hosts = [
        [h.bk_host_id, h.bk_host_innerip, h.bk_host_outerip, h.bk_host_innerip_v6, h.bk_host_outerip_v6]
        for h in seen.hosts.values()
    ]
    return {"hosts": hosts, "templates": _shown(seen), "strict": strict, "body": sent}


def _by_chance() -> Iterator[Asked]:
    chance = random.Random(20)
    for _ in range(110):
        tape = Tape(chance.randbytes(400))
        seen = catalogue(tape)
        yield seen, body(tape)
    for _ in range(60):
        yield from overlapping(most=2)(Tape(chance.randbytes(400)))


def _benchmarks() -> Iterator[dict[str, Any]]:
    for text in ("1", "3x2x2", "3x2x2d", "2x10x1"):
        shape = Shape.parse(text)
        sent = json.loads(shape.body(0, 1)) | {"bk_biz_id": 1, "bk_module_id": 60}
        hosts = [[host, f"10.0.0.{host}", "", "", ""] for host in range(1, 4)]
        templates = [[row[0], json.loads(row[4])] for row in shape.templates()]
        yield {"hosts": hosts, "templates": templates, "strict": False, "body": sent}


def _odd() -> Iterator[object]:
    from tests.unit.contract.request import bodies as b
    from tests.unit.contract.request import test_bad_inputs as bad

    yield from (one.values[0] for one in (*bad.BAD_INPUTS, *bad.LEFT_TO_THE_WORKER))
    yield json.loads(sample.REQUEST.read_bytes())
    named = {"bk_process_name": " nginx\u3000", "bk_func_name": "nginx"}
    lists: list[Any] = [
        [{"process_info": named}],
        [{"process_info": named | {"bind_info": {"port": "80", "protocol": "1"}}}],
        [{"process_info": named | {"bind_info": None, "user": None}}],
        [{"process_info": named | {"bind_info": []}}],
        [{"process_info": dict(reversed(named.items()))}],
        [{**named, "process_template_id": 0}],
        [{**named, "process_info": {"user": "inner"}, "user": "outer"}],
        [{"process_info": named | {"later": 1}, "process_template_id": None}],
        [{"process_info": named, "process_template_id": 3}],
        [{"process_info": None}],
        [{"process_info": named | {"bind_info": [{"ip": None, "port": "80", "protocol": "1", "enable": None}]}}],
        [],
        None,
    ]
    for sent in lists:
        yield b.body(processes=sent)
    several = [
        {"bk_host_id": 1 + place % 3, "processes": sent, "service_instance_name": f"n{place}"}
        for place, sent in enumerate([*lists, *lists])
    ]
    for mode in ("atomic", "partial"):
        for on_existing in ("reuse", "clone", "fail"):
            yield {**b.body(), "instances": several, "mode": mode, "on_existing": on_existing}
            yield {**b.body(), "instances": several[:4] + several[13:17], "mode": mode, "on_existing": on_existing}
    yield {**b.body(), "instances": [{"bk_host_id": 1}] * 2, "client_request_id": "k", "bk_token": "t", "mode": None}
    yield {**b.body(), "strict": True, "on_existing": "fail"}
    yield {"instances": [{"service_instance_name": "x" * 257, "processes": [{"process_info": {"user": "\x00"}}]}]}
    yield {**b.body(), "instances": [{"bk_host_id": "x", "processes": 5}] * 30}


def record() -> None:
    """Write the corpus."""
    wanted = [_asked(seen, sent) for seen, sent in _by_chance()]
    wanted += _benchmarks()
    seen = catalogue(Tape(bytes([1, 2, 0, 1, 1] * 80)))
    for sent in _odd():
        if len(json.dumps(sent)) < 50_000:
            wanted += [_asked(UNBOUND, sent, strict=strict) for strict in (False, True)]
            wanted.append(_asked(seen, sent))
    lines = []
    for one in wanted:
        with suppress(Refused):  # a template that CMDB would not take
            lines.append(json.dumps({"asked": one, "said": answer(one)}, separators=(",", ":")))
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(gzip.compress("\n".join(dict.fromkeys(lines)).encode(), 9, mtime=0))


def recorded() -> list[dict[str, Any]]:
    """The corpus: what was ``asked`` and what was ``said``."""
    return [json.loads(line) for line in gzip.decompress(FILE.read_bytes()).splitlines()]


if __name__ == "__main__":
    record()
