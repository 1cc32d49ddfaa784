"""Thread time of each step of one request, from the bytes of its body to the arguments of the statement that writes it.

``python -m benchmarks.steps --shape 100x2x2d``: microseconds, the median of many requests that all differ in their
hosts. No server is needed: what is timed is all pure.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from statistics import median
from typing import Any, Final

from api_shim.http.body import loads
from benchmarks.shapes import BK_BIZ_ID, Shape
from contract.answer.report import About, Report
from contract.message import Caller, Payload
from contract.request.parse import parse
from worker.expand.bound import Expansion
from worker.expand.catalogue import Host, Module
from worker.expand.expand import CatalogueSlice, expand
from worker.expand.plan import Plan
from worker.expand.templates import parse_process_template
from worker.postgres.columns import NewRows
from worker.postgres.draft import WriteRequest, draft

_REQUEST_ID: Final = "0" * 32
_CALLER: Final = Caller(bk_app_code="benchmark", bk_username="benchmark")
_MODULES: Final = 1000
_SHAPES: Final = "1,100x2x2,100x10x1,1d,100x2x2d,100x10x1d"


class Steps:
    """Runs requests, and keeps the time of each step."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._templates = tuple(
            Expansion(parse_process_template(row[0], json.loads(row[4]))) for row in shape.templates()
        )
        self.times: dict[str, list[float]] = {}

    def run(self, number: int) -> None:
        """One request."""
        text = self._shape.body(number, _MODULES)
        body = self._time("body → JSON", lambda: loads(text))
        parsed = self._time("JSON → batch", lambda: parse(body))
        self._time("digest", parsed.batch.digest)
        stored = self._time("pending entry", lambda: Payload.write(_REQUEST_ID, parsed.batch, _CALLER))
        batch = self._time("pending entry → batch", lambda: Payload.load(stored)).batch
        catalogue = self._catalogue(number)
        plan = self._time("rules", lambda: expand(catalogue, batch, _REQUEST_ID))
        rows, request = NewRows(), self._request(plan)
        drafted = self._time("draft", lambda: draft(request, {}, count(1), count(1), rows))
        self._time("report", lambda: request.build_report(drafted.items).dump())
        self._time("arguments", rows.arguments)

    def _time(self, name: str, call: Callable[[], Any]) -> Any:
        began = time.thread_time_ns()
        found = call()
        self.times.setdefault(name, []).append((time.thread_time_ns() - began) / 1000)
        return found

    def _catalogue(self, number: int) -> CatalogueSlice:
        module, ids = self._shape.module_and_hosts(number, _MODULES)
        hosts = {id_: Host(id_, f"10.0.{id_ >> 8 & 255}.{id_ & 255}") for id_ in ids}
        template = self._shape.service_template_id
        return CatalogueSlice(Module(module, BK_BIZ_ID, "module", template), BK_BIZ_ID, self._templates, hosts)

    def _request(self, plan: Plan) -> WriteRequest:
        now = datetime.now(tz=UTC)
        about: About = {
            "request_id": _REQUEST_ID,
            "bk_biz_id": plan.bk_biz_id,
            "bk_module_id": plan.bk_module_id,
            "created_at": now,
            "finished_at": now,
        }
        return WriteRequest(_REQUEST_ID, plan, _CALLER, lambda items: Report.settled(items, **about))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each step, one column for each shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--shape", default=_SHAPES, help="one or more, separated by commas")
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args(arguments)
    columns = {}
    for text in options.shape.split(","):
        steps = Steps(Shape.parse(text))
        for number in range(options.requests):
            steps.run(number)
        columns[text] = {name: median(times) for name, times in steps.times.items()}
    names = list(next(iter(columns.values())))
    print(f"{'µs of thread time':24}" + "".join(f"{text:>12}" for text in columns))
    for name in names:
        print(f"{name:24}" + "".join(f"{column[name]:12,.0f}" for column in columns.values()))
    print(f"{'together':24}" + "".join(f"{sum(column.values()):12,.0f}" for column in columns.values()))


if __name__ == "__main__":
    main()
