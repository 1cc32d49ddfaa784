"""``bksi jobs``: any number of instances under one id."""

import itertools
from typing import Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number

from bksi_client.cli import progress
from bksi_client.cli.output import Output
from bksi_client.cli.server import Server
from bksi_client.cli.verbs import CELLS, COLUMNS, OUTPUT, SERVER, Wait, show_items, watch_job
from bksi_client.types import Outcome

app: Final = App(name="jobs", help="Jobs: any number of instances under one id. `bksi submit --job` makes one.")


@app.command(name="list")
def list_(
    *,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 20,
    server: Server = SERVER,
    output: Output = OUTPUT,
) -> None:
    """List your own jobs, the newest first."""
    with server.client() as client:
        found = itertools.islice(client.jobs.list(page_size=min(limit, 500)), limit)
        output.rows(found, ("job_id", *COLUMNS[1:5], "created_at"), "job_id", CELLS)


@app.command
def status(job_id: str, *, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Say how the job JOB_ID stands."""
    with server.client() as client:
        report = client.jobs.operation(job_id).status()
    output.show(report, [report["job_id"]], progress.job_line(report))


@app.command
def watch(job_id: str, *, timeout: Wait = None, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Follow the job JOB_ID to its end."""
    with server.client() as client:
        watch_job(client.jobs.operation(job_id), timeout, output)


@app.command
def items(job_id: str, *, outcome: Outcome | None = None, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Say what became of each instance of the job JOB_ID."""
    with server.client() as client:
        show_items(client.jobs.operation(job_id).items(outcome), output)


@app.command
def batches(job_id: str, *, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """List the requests that the job JOB_ID was cut into."""
    with server.client() as client:
        output.rows(client.jobs.operation(job_id).batches(), ("request_id", "status"), "request_id", {})


@app.command
def cancel(job_id: str, *, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """End what no worker has started of the job JOB_ID."""
    with server.client() as client:
        report = client.jobs.operation(job_id).cancel()
    output.show(report, [report["job_id"]], progress.job_line(report))


@app.command
def retry(job_id: str, *, server: Server = SERVER, output: Output = OUTPUT) -> None:
    """Submit what failed of the job JOB_ID again."""
    with server.client() as client:
        job = client.jobs.operation(job_id).retry()
    output.show({"job_id": job.id}, [job.id], f"accepted job {job.id}")
