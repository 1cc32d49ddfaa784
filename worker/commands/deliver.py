"""`bksi deliver …`: what is still to be handed on to CMDB, and what CMDB does not take."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table
from rich.text import Text

from worker.commands.console import in_database, out, print_outcomes, uncut
from worker.postgres import deliveries
from worker.postgres.engine import Engine, driver_connection

app = App(name="deliver", default_parameter=Parameter(negative=()))

Ids = Annotated[str, Parameter(name="REQUEST_ID", required=True)]
_UNKNOWN: Final = "there is nothing of it to deliver"


@app.command
def ls(
    *,
    status: Literal["PENDING", "FAILED"] | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 50,
    json: bool = False,
) -> int:
    """List deliveries, oldest first: those that CMDB is still to take, and those that it does not take.

    Args:
        status: Only those.
        limit: How many at most.
        json: Print one JSON object: counts, age of the oldest in seconds, and `deliveries`.
    """

    async def run(engine: Engine) -> tuple[dict[str, float], list[dict[str, Any]]]:
        async with driver_connection(engine) as driver:
            return await deliveries.backlog(driver), await deliveries.listing(driver, status or "", limit)

    backlog, found = in_database(run)
    if json:
        out.print_json(data={**backlog, "deliveries": found}, default=datetime.isoformat)
        return 0
    if found:
        out.print(_table(found))
    oldest = f", the oldest for {backlog['oldest_s']:.0f} s" if backlog["pending"] else ""
    out.print(f"{backlog['pending']} pending{oldest}, {backlog['failed']} failed", highlight=False)
    return 0


@app.command
def retry(*ids: Ids, json: bool = False) -> int:
    """Hand some on anew, now: what failed, once its cause is removed, or what waits for its next try.

    Exit code: 1 when there is nothing to deliver of one of them.

    Args:
        ids: Of requests, as `ls` prints them.
        json: Print what became of each as JSON.
    """
    return _each(ids, deliveries.retry, "retried", json=json)


@app.command
def drop(*ids: Ids, json: bool = False) -> int:
    """Give some up. Their rows stay here, CMDB is not asked for them again, and whoever waits is told that it failed.

    Exit code: 1 when there is nothing to deliver of one of them.

    Args:
        ids: Of requests, as `ls` prints them.
        json: Print what became of each as JSON.
    """
    return _each(ids, deliveries.drop, "dropped", json=json)


def _each(ids: tuple[str, ...], deed: Callable[[Any, str], Awaitable[bool]], done: str, *, json: bool) -> int:
    async def run(engine: Engine) -> dict[str, str | None]:
        async with driver_connection(engine) as driver:
            return {id_: None if await deed(driver, id_) else _UNKNOWN for id_ in ids}

    return print_outcomes(in_database(run), done, json=json)


def _table(found: list[dict[str, Any]]) -> Table:
    columns = ("request", "since (UTC)", "biz", "module", "instances", "status", "tries", "why")
    table = uncut(*columns, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for one in found:
        since = f"{one['created_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        why = f"{one['code']} {one['message']}" if one["code"] else one["message"]
        numbers = (one["bk_biz_id"], one["bk_module_id"], one["instances"])
        cells = (one["request_id"], since, *map(str, numbers), one["status"], str(one["tries"]), why)
        table.add_row(*map(Text, cells))
    return table
