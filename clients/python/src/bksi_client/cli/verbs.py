"""What a caller does with requests: submit them, see how they stand, act on them."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number

from bksi_client.cli import progress
from bksi_client.cli.errors import FAILED, UNFINISHED, CommandFailed
from bksi_client.cli.output import Output, printable, say, tell
from bksi_client.cli.profiles import app as profiles
from bksi_client.cli.requests import reading
from bksi_client.cli.server import Server
from bksi_client.errors import Unanswered
from bksi_client.types import Batch, Item, Outcome, Report, Status

if TYPE_CHECKING:
    from bksi_client.blocking import Client, Job, Operation

app: Final = App(name="client", help="What a caller does.")
app.command(profiles)


def _is_file(_: object, value: str) -> None:
    """A validator: a mistyped option is no file."""
    if value.startswith("-") and value != "-":
        raise ValueError(f"there is no option {value}; a file of that name is ./{value}")


File = Annotated[str, Parameter(allow_leading_hyphen=True, validator=_is_file)]
Wait = Annotated[float | None, Parameter(validator=Number(gte=0))]
SERVER: Final = Server()
OUTPUT: Final = Output()
COLUMNS: Final = ("request_id", "status", "total", "success", "failed", "biz", "module", "created_at")
CELLS: Final = {
    "total": lambda entry: entry["statistics"]["total_count"],
    "success": lambda entry: entry["statistics"]["success_count"],
    "failed": lambda entry: entry["statistics"]["failed_count"],
    "biz": lambda entry: entry.get("bk_biz_id", ""),
    "module": lambda entry: entry.get("bk_module_id", ""),
}
ITEM_COLUMNS: Final = ("index", "bk_host_id", "outcome", "service_instance_id", "code", "message")


@app.command
def submit(
    file: File,
    *,
    wait: Wait = None,
    job: bool = False,
    idempotency_key: str | None = None,
    server: Server = SERVER,
    output: Output = OUTPUT,
) -> None:
    """Submit the request in FILE ("-" is the standard input), and say under which id it was accepted.

    Args:
        file: a request as POST /v1/batches takes it, with any number of instances; or lines of JSON: a request without
            instances, then an instance a line.
        wait: seconds to wait for the end.
        job: all instances under one id, instead of a request for every 100.
        idempotency_key: makes a repeat of this very command harmless.
    """
    with reading(file) as batch, server.client() as client:
        if job:
            _follow_job(_accepted_job(client, batch, idempotency_key), wait, output)
        else:
            _follow(_accepted(client, batch, idempotency_key, output, waits=wait is not None), wait, output)


def _accepted_job(client: "Client", batch: Batch, key: str | None) -> "Job":
    """The job, once all of it is accepted. Whoever stops half-way is told how to go on, for nobody else has the key."""
    from bksi_client.flow import key_of  # noqa: PLC0415 - `bksi` and its help stay quick

    key = key_of(key)
    try:
        return client.jobs.submit(batch, key)
    except (KeyboardInterrupt, CommandFailed, Unanswered):
        tell(f"With --idempotency-key {key} the same command goes on where it stopped.")
        raise


def _accepted(client: "Client", batch: Batch, key: str | None, output: Output, *, waits: bool) -> "Iterator[Operation]":
    """Each operation as it is accepted, which is said at once."""
    for operation in client.submit_many(batch, key):
        if not waits and output.form != "table":
            output.show({"request_id": operation.id, "idempotency_key": operation.idempotency_key}, [operation.id], "")
        elif output.form == "table":
            say(f"accepted {operation.id}")
        yield operation


def _follow(accepted: "Iterator[Operation]", wait: float | None, output: Output) -> None:
    operations = list(accepted)
    if wait is None:
        return
    ended = [report for report in progress.until_ended(operations, wait) if report is not None]
    if output.form == "table":
        say(progress.summary(ended, unfinished=len(operations) - len(ended)))
    else:
        for report in ended:
            output.show(report, report["data"] or [], "")
    _explain(ended, output)
    if len(ended) < len(operations):
        raise CommandFailed(f"{len(operations) - len(ended)} of {len(operations)} have not ended", UNFINISHED)
    _unless_all_succeeded(ended)


def _follow_job(job: "Job", wait: float | None, output: Output) -> None:
    if wait is None:
        output.show({"job_id": job.id, "idempotency_key": job.idempotency_key}, [job.id], f"accepted job {job.id}")
        return
    if output.form == "table":
        say(f"accepted job {job.id}")
    watch_job(job, wait, output)


def watch_job(job: "Job", timeout: float | None, output: Output) -> None:
    """Follow a job to its end, and say how that was."""
    report = progress.job_until_ended(job, timeout)
    output.show(report, [job.id], progress.job_line(report))
    if not report["result"]:
        raise CommandFailed(printable(f"{report['code']}: {report['message']}"), FAILED)


@app.command
def status(request_id: str, *, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Say how the request REQUEST_ID stands.

    Args:
        request_id: 32 hexadecimal digits, as the answer to its submit said.
    """
    with server.client() as client:
        report = client.poll(request_id)
    output.show(report, report["data"] or [], progress.line(report))
    _explain([report], output)


@app.command
def watch(request_id: str, *, timeout: Wait = None, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Follow the request REQUEST_ID to its end.

    Args:
        request_id: 32 hexadecimal digits.
        timeout: seconds after which to give up.
    """
    with server.client() as client:
        [report] = progress.until_ended([client.operation(request_id)], timeout)
    if report is None:
        raise CommandFailed(f"{request_id} has not ended", UNFINISHED)
    output.show(report, report["data"] or [], progress.line(report))
    _explain([report], output)
    _unless_all_succeeded([report])


@app.command(name="list")
def list_(
    *,
    status: Status | None = None,
    bk_biz_id: int | None = None,
    bk_module_id: int | None = None,
    idempotency_key: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 20,
    server: Server = SERVER,
    output: Output = OUTPUT,
) -> None:
    """List your own requests, the newest first.

    Args:
        status: only those that stand so.
        bk_biz_id: only those of this business.
        bk_module_id: only those of this module.
        idempotency_key: only the one that was submitted under it.
        limit: how many at most.
    """
    with server.client() as client:
        summaries = client.batches.list(
            status=status,
            bk_biz_id=bk_biz_id,
            bk_module_id=bk_module_id,
            idempotency_key=idempotency_key,
            page_size=min(limit, 500),
        )
        output.rows(itertools.islice(summaries, limit), COLUMNS, "request_id", CELLS)


@app.command
def items(request_id: str, *, outcome: Outcome | None = None, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Say what became of each instance of the request REQUEST_ID.

    Args:
        request_id: 32 hexadecimal digits.
        outcome: only the instances of which this became.
    """
    with server.client() as client:
        show_items(client.batches.items(request_id, outcome), output)


def show_items(found: Iterator[Item], output: Output) -> None:
    """Items of a request or a job."""
    output.rows(found, ITEM_COLUMNS, "service_instance_id", {"message": lambda item: item["code"] and item["message"]})


@app.command
def cancel(request_id: str, *, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """End the request REQUEST_ID, if no worker has started it."""
    with server.client() as client:
        report = client.operation(request_id).cancel()
    output.show(report, [report["request_id"]], progress.line(report))


@app.command
def retry(request_id: str, *, wait: Wait = None, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Submit the request REQUEST_ID again after it has failed, as a new one.

    Args:
        request_id: 32 hexadecimal digits.
        wait: seconds to wait for the end.
    """
    with server.client() as client:
        operation = client.operation(request_id).retry()
        if wait is None or output.form == "table":
            output.show({"request_id": operation.id}, [operation.id], f"accepted {operation.id}")
        _follow(iter([operation]), wait, output)


@app.command
def validate(file: File, *, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Say what the request in FILE would create, find or be refused for; nothing is written."""
    with reading(file) as batch, server.client() as client:
        report = client.validate(batch)
    output.show(report, [], progress.line(report))
    if output.form == "table":
        show_items(iter(report["items"]), output)
    _explain([report], output)
    _unless_all_succeeded([report])


@app.command(name="open")
def open_(request_id: str = "", *, job: bool = False, server: Server = SERVER) -> None:
    """Open the page of a request in a browser, or that of all of yours; say where it is.

    Args:
        request_id: 32 hexadecimal digits; nothing for the list.
        job: it is the id of a job.
    """
    import webbrowser  # noqa: PLC0415 - for this verb alone

    from bksi_client.calls import BATCHES, JOBS, path_of  # noqa: PLC0415 - `bksi` and its help stay quick

    with server.client() as client:
        path = path_of(JOBS if job else BATCHES, request_id) if request_id else "/"
        url = client.options.url + path
    say(url)
    webbrowser.open(url)


def _explain(reports: list[Report], output: Output) -> None:
    """What is wrong, and what was not taken as sent, for people."""
    if output.form != "table":
        return
    for report in reports[:10]:
        for problem in report["errors"][:10]:
            tell(f"{report['request_id']}: {problem['code']}: {problem['message']}")
        for warning in report["warnings"][:10]:
            tell(f"{report['request_id']}: warning: {warning['path']}: {warning['message']}")


def _unless_all_succeeded(reports: list[Report]) -> None:
    failed = [report for report in reports if not report["result"]]
    if failed:
        said = failed[0]
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise CommandFailed(printable(f"{said['request_id']}: {said['code']}: {said['message']}{more}"), FAILED)
