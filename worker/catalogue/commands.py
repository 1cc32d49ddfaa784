"""What the commands of `worker.catalogue.cli` do."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Queue
from typing import Final

import stamina.instrumentation
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from contract.settings import load_settings
from plumbing.logs import configure_logging
from worker.catalogue.answers import Answer, AnswerRefused, Kind, read_answer
from worker.catalogue.cmdb import AuthorizationInvalid, Cmdb, CmdbRefused, CmdbUnavailable
from worker.catalogue.consent import NotRemoved, require_consent
from worker.catalogue.instance_commands import import_instances, pull_all_instances, read_files
from worker.catalogue.instance_report import InstanceReport, print_instance_report
from worker.catalogue.items import Key, Refusal
from worker.catalogue.load import import_answers
from worker.catalogue.pages import Pages, PagesOfAnother
from worker.catalogue.pull import pull
from worker.catalogue.report import ImportReport, print_report
from worker.catalogue.resource_watch import listen
from worker.catalogue.view import module_view, summary_view, template_dict
from worker.catalogue.watch import Watch, watch
from worker.commands.console import err, in_database, out, plain_errors
from worker.expand.catalogue import ProcessTemplate
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.catalogue_summary import CatalogueSummary, ModuleSummary, read_module, read_summary
from worker.postgres.cmdb_pulls import record
from worker.postgres.engine import Engine, driver_connection

STATEMENT_TIMEOUT_MS: Final = 600_000
"""An import is one statement per table, however many rows it has."""


def import_files(
    files: Sequence[Path],
    *,
    kind: Kind | None,
    bk_biz_id: int | None,
    prune: bool,
    yes: bool,
    force: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Import files; see `worker.catalogue.cli.import_`."""
    answers: list[Answer] = []
    unreadable: list[Refusal] = []
    for file in files:
        try:
            answers.append(read_answer(file.read_bytes(), str(file), kind))
        except AnswerRefused as refused:
            unreadable.append(Refusal(kind, refused.source, "", refused.reason))
        except OSError as error:
            unreadable.append(Refusal(kind, str(file), "", error.strerror or type(error).__name__))

    report = _imported(
        answers, bk_biz_id=bk_biz_id, prune=prune, yes=yes, force=force, dry_run=dry_run, unreadable=unreadable
    )
    print_report(report, out, json=json)
    return 1 if report.refused else 0


def _imported(
    answers: Sequence[Answer],
    *,
    bk_biz_id: int | None,
    prune: bool,
    yes: bool,
    force: bool,
    dry_run: bool,
    unreadable: Sequence[Refusal] = (),
    afterwards: Callable[[Engine], Awaitable[None]] | None = None,
) -> ImportReport:
    """Import, and do `afterwards`; where something might be removed, look first what, and ask."""

    def imported(*, dry_run: bool, at_most: Mapping[Kind, Collection[Key]] | None = None) -> ImportReport:
        async def run(engine: Engine) -> ImportReport:
            report = await import_answers(
                engine,
                answers,
                bk_biz_id=bk_biz_id,
                prune=prune,
                dry_run=dry_run,
                unreadable=unreadable,
                at_most=at_most,
            )
            if afterwards is not None and not dry_run:
                await afterwards(engine)
            return report

        return in_database(run, statement_timeout_ms=STATEMENT_TIMEOUT_MS)

    if dry_run or not prune:
        return imported(dry_run=dry_run)
    with plain_errors(NotRemoved):
        looked = imported(dry_run=True)
        require_consent(looked, yes=yes, force=force)
        return imported(dry_run=False, at_most=looked.changes.removed)


def import_instance_files(files: Sequence[Path], *, prune: bool, dry_run: bool, json: bool) -> int:
    """Take over service instances from files; see `worker.catalogue.cli.import_`."""
    if dry_run:
        err.print("--dry-run is for the catalogue; --instances always writes", style="red")
        return 2
    answers, unreadable = read_files(files)

    async def run(engine: Engine) -> InstanceReport:
        return await import_instances(
            engine, answers, first_id=load_settings().first_id, prune=prune, unreadable=unreadable
        )

    report = in_database(run, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    print_instance_report(report, out, json=json)
    return 1 if report.left_out else 0


def pull_business(
    url: str,
    bk_biz_id: int,
    *,
    authorization_file: Path | None,
    supplier_account: str,
    state_dir: Path | None,
    prune: bool,
    force: bool,
    instances: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Read a business from a live CMDB and import it; see `worker.catalogue.cli.pull`."""
    with plain_errors(CmdbRefused, CmdbUnavailable, AuthorizationInvalid, PagesOfAnother, AnswerRefused, OSError):
        cmdb = Cmdb(url, _authorization(authorization_file), supplier_account=supplier_account)
        pages = Pages(state_dir or _state_dir(cmdb.url, bk_biz_id), {"url": cmdb.url, "bk_biz_id": bk_biz_id})
        if pages.count:
            err.print(f"Going on with the {pages.count} pages kept in {pages.directory}", highlight=False)
        began = time.monotonic()
        try:
            with cmdb, _progress() as progress:
                answers = pull(cmdb, bk_biz_id, pages, progress)
        except CmdbUnavailable as error:
            raise CmdbUnavailable(
                f"{error}; the same command goes on with the {pages.count} pages read so far"
            ) from None

    async def note(engine: Engine) -> None:
        async with driver_connection(engine) as driver:
            await record(driver, bk_biz_id, "catalogue", time.monotonic() - began)

    # CMDB itself has counted what it listed, page by page: that is as good as a yes.
    report = _imported(
        answers, bk_biz_id=bk_biz_id, prune=prune, yes=True, force=force, dry_run=dry_run, afterwards=note
    )
    if not dry_run:
        pages.clear()
    if not instances or dry_run:
        print_report(report, out, json=json)
        return 1 if report.refused else 0
    with plain_errors(CmdbRefused, CmdbUnavailable, AnswerRefused):
        found = _pull_instances(cmdb, bk_biz_id, prune=prune)
    if json:
        out.print_json(data={"catalogue": report.as_dict(), "instances": found.as_dict()}, indent=2)
    else:
        print_report(report, out)
        print_instance_report(found, out, json=False)
    return 1 if report.refused or found.left_out else 0


def watch_businesses(
    url: str | None,
    businesses: Sequence[int],
    *,
    every_s: float,
    instances: bool,
    prune: bool,
    authorization_file: Path | None,
) -> None:
    """Pull until told to stop; see `worker.catalogue.cli.watch`."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    events: Queue[int] = Queue()
    with plain_errors(CmdbRefused, AuthorizationInvalid, OSError):
        authorization = _authorization(authorization_file)

        def open_cmdb() -> Cmdb:
            account = settings.cmdb_supplier_account
            return Cmdb(url or settings.cmdb_url or "", authorization, supplier_account=account)

        cmdb = open_cmdb()
    listen(open_cmdb, events)

    watch(
        settings,
        Watch(cmdb, businesses, every_s, instances=instances, prune=prune, events=events),
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )


def _pull_instances(cmdb: Cmdb, bk_biz_id: int, *, prune: bool) -> InstanceReport:
    with cmdb, _progress() as progress:

        async def run(engine: Engine) -> InstanceReport:
            return await pull_all_instances(engine, cmdb, bk_biz_id, prune=prune, progress=progress)

        return in_database(run, statement_timeout_ms=STATEMENT_TIMEOUT_MS)


def show_businesses(*, json: bool) -> int:
    """Print a line for each business; see `worker.catalogue.cli.show`."""

    async def run(engine: Engine) -> CatalogueSummary:
        async with engine.connect() as connection:
            return await read_summary(connection)

    summary = in_database(run)
    if json:
        out.print_json(data=asdict(summary), default=str)
    else:
        out.print(summary_view(summary))
    return 0


def show_module(bk_module_id: int, *, json: bool) -> int:
    """Print one module with its template; see `worker.catalogue.cli.show`."""

    async def run(engine: Engine) -> tuple[ModuleSummary | None, Sequence[ProcessTemplate]]:
        async with engine.connect() as connection:
            module = await read_module(connection, bk_module_id)
        templates = (await Catalogue(engine, check_ms=0).slice(0, bk_module_id, ())).process_templates
        return module, templates

    module, templates = in_database(run)
    if module is None:
        err.print(f"module {bk_module_id} is not in the catalogue", style="red")
        return 1
    if json:
        out.print_json(data=asdict(module) | {"process_templates": [template_dict(found) for found in templates]})
    else:
        out.print(module_view(module, templates))
    return 0


def _authorization(file: Path | None) -> str | None:
    if file is not None:
        return file.read_text(encoding="utf-8")
    setting = load_settings().cmdb_authorization
    return None if setting is None else setting.get_secret_value()


def _state_dir(url: str, bk_biz_id: int) -> Path:
    which = hashlib.sha256(url.encode()).hexdigest()[:12]
    return load_settings().state_dir.expanduser() / "pull" / f"{which}-{bk_biz_id}"


def _progress() -> Progress:
    """A bar for each listing on stderr, and a line for each pause."""
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )

    def tell(details: stamina.instrumentation.RetryDetails) -> None:
        pause = f"{details.caused_by}: next try in {details.wait_for:.0f} s"
        progress.console.print(pause, style="yellow", markup=False, highlight=False)

    stamina.instrumentation.set_on_retry_hooks([tell])
    return progress
