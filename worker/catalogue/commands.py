"""`bksi catalogue …`: bring CMDB's modules, hosts and templates in, and look at them."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from contract.settings import load_settings
from plumbing.logs import configure_logging, give_up
from worker.catalogue import pull as pulling
from worker.catalogue import watch as watching
from worker.catalogue.answers import AnswerRefused, Kind, read_answer, read_files, read_list
from worker.catalogue.cmdb import Cmdb, CmdbRefused, CmdbUnavailable
from worker.catalogue.instance_import import age_s, import_instances
from worker.catalogue.instance_pull import pull_instances
from worker.catalogue.instance_report import InstanceReport
from worker.catalogue.items import Refusal
from worker.catalogue.pages import Pages, PagesOfAnother
from worker.catalogue.report import print_report
from worker.catalogue.resource_watch import listen
from worker.catalogue.steps import (
    STATEMENT_TIMEOUT_MS,
    authorization_of,
    import_with_consent,
    progress_bars,
    state_dir_of,
)
from worker.catalogue.view import module_view, summary_view
from worker.commands.console import err, in_database, out, plain_errors, refuse
from worker.expand.catalogue import ProcessTemplate
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.catalogue_summary import CatalogueSummary, ModuleSummary, read_module, read_summary
from worker.postgres.cmdb_pulls import record
from worker.postgres.engine import Engine, driver_connection

app = App(name="catalogue", default_parameter=Parameter(negative=()))

PositiveId = Annotated[int, Parameter(validator=Number(gte=1))]


@app.command(name="import")
def import_(
    *files: Annotated[Path, Parameter(name="FILE", required=True)],
    kind: Kind | None = None,
    biz: PositiveId | None = None,
    prune: bool = False,
    yes: bool = False,
    force: bool = False,
    instances: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Import what CMDB's APIs answered, from files.

    Each file is one answer of list_service_template, list_proc_template, find_module_batch, search_module,
    find_module_with_relation, list_biz_hosts, list_hosts_without_biz, find_module_host_relation,
    find_host_biz_relations or find_host_topo_relation: the whole envelope, its data, or the bare list. What it lists is
    recognised by what only its items have; the answer of another API is refused. All files are one transaction. An item
    that is refused is reported with its path and the rest is imported. Existing service instances stay as they are.

    Exit code: 0 when everything was taken over, 1 when an item or a file was refused or the database failed.

    Args:
        files: JSON files, in any order.
        kind: What the files list, when their items do not tell.
        biz: The business of items that do not name theirs.
        prune: Remove what the files lack; they are whole listings of the businesses, service templates and modules
            they name. Without it nothing is ever removed. What would be removed is said before, and asked for.
        yes: Remove it without asking.
        force: Let more than a fifth of a kind be removed.
        instances: The files are answers of list_service_instance_detail, or of list_service_instance and
            list_process_instance. Their service instances are taken over with CMDB's ids; with --prune, what CMDB had
            and the files lack is marked as gone.
        dry_run: Report what would change, and change nothing.
        json: Print the report as JSON.
    """
    if instances:
        return _import_instances(files, prune=prune, dry_run=dry_run, json=json)
    answers, refused = read_files(files, partial(read_answer, kind=kind))
    unreadable = [Refusal(kind, one.source, "", one.reason) for one in refused]
    report = import_with_consent(
        answers, bk_biz_id=biz, prune=prune, yes=yes, force=force, dry_run=dry_run, unreadable=unreadable
    )
    print_report(report, json=json)
    return 1 if report.refused else 0


@app.command
def pull(
    *,
    url: str,
    biz: PositiveId,
    authorization_file: Path | None = None,
    supplier_account: str = "0",
    state_dir: Path | None = None,
    prune: Annotated[bool, Parameter(negative="--no-prune")] = True,
    force: bool = False,
    instances: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Read one business from a live CMDB, page by page, and import it.

    Pages that were read are kept until the import is done: after a failure or Ctrl-C the same command goes on where it
    stopped. Existing service instances stay as they are.

    The credentials are the JSON object of the X-Bkapi-Authorization header, such as {"bk_app_code": …,
    "bk_app_secret": …, "bk_username": …}. They come from BKSI_CMDB_AUTHORIZATION or a file, never from the command
    line, where every user of the machine could read them.

    Exit code: 0 when everything was taken over, 1 when an item was refused or CMDB or the database failed.

    Args:
        url: CMDB's API server, its API gateway (https://…/prod), or ESB's component (https://…/api/c/compapi/v2/cc).
        biz: The business, bk_biz_id.
        authorization_file: File with the credentials, instead of BKSI_CMDB_AUTHORIZATION.
        supplier_account: bk_supplier_account, sent as a header.
        state_dir: Where pages are kept, instead of a directory of its own under BKSI_STATE_DIR.
        prune: Remove what the business no longer has; --no-prune only adds and changes.
        force: Let more than a fifth of a kind be removed.
        instances: Take over the business's service instances and processes as well, with CMDB's ids. Afterwards a
            request for what CMDB has is answered with what CMDB has.
        dry_run: Report what would change, and change nothing; the pages are kept.
        json: Print the report as JSON.
    """
    with plain_errors(CmdbRefused, CmdbUnavailable, PagesOfAnother, AnswerRefused, OSError):
        cmdb = Cmdb(url, authorization_of(authorization_file), supplier_account=supplier_account)
        pages = Pages(state_dir or state_dir_of(cmdb.url, biz), {"url": cmdb.url, "bk_biz_id": biz})
        if pages.count:
            err.print(f"Going on with the {pages.count} pages kept in {pages.directory}", highlight=False)
        began = time.monotonic()
        try:
            with cmdb, progress_bars() as progress:
                answers = pulling.pull(cmdb, biz, pages, progress)
        except CmdbUnavailable as error:
            raise CmdbUnavailable(
                f"{error}; the same command goes on with the {pages.count} pages read so far"
            ) from None

    async def note(engine: Engine) -> None:
        async with driver_connection(engine) as driver:
            await record(driver, biz, "catalogue", time.monotonic() - began)

    # CMDB itself has counted what it listed, page by page: that is as good as a yes.
    report = import_with_consent(
        answers, bk_biz_id=biz, prune=prune, yes=True, force=force, dry_run=dry_run, afterwards=note
    )
    if not dry_run:
        pages.clear()
    if not instances or dry_run:
        print_report(report, json=json)
        return 1 if report.refused else 0
    with plain_errors(CmdbRefused, CmdbUnavailable, AnswerRefused):
        found = _pull_instances(cmdb, biz, prune=prune)
    if json:
        out.print_json(data={"catalogue": report.as_dict(), "instances": found.as_dict()})
    else:
        out.print(report, found)
    return 1 if report.refused or found.left_out else 0


@app.command
def watch(
    *,
    url: str | None = None,
    biz: tuple[PositiveId, ...] = (),
    every: Annotated[float, Parameter(validator=Number(gt=0))] = 60.0,
    instances: bool = False,
    prune: Annotated[bool, Parameter(negative="--no-prune")] = True,
    authorization_file: Path | None = None,
) -> None:
    """Pull from a live CMDB again and again, until SIGTERM or Ctrl-C.

    A line is logged for each pull. What fails is tried again in its turn. One such process is enough.

    Args:
        url: As of pull; BKSI_CMDB_URL when it is left out.
        biz: A business; may come more than once. All that the catalogue has modules of when it is left out.
        every: Seconds from the beginning of one round to that of the next.
        instances: As of pull.
        prune: As of pull.
        authorization_file: As of pull.
    """
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    address = url or settings.cmdb_url
    if not address:
        give_up("bksi catalogue watch: no CMDB is named: give --url, or set BKSI_CMDB_URL")
    events: Queue[int] = Queue()
    try:
        authorization = authorization_of(authorization_file)

        def open_cmdb() -> Cmdb:
            account = settings.cmdb_supplier_account
            return Cmdb(address, authorization, supplier_account=account)

        cmdb = open_cmdb()
    except (CmdbRefused, OSError) as error:
        give_up(f"bksi catalogue watch: {error}")
    listen(open_cmdb, events)

    watching.watch(settings, watching.Watch(cmdb, biz, every, instances=instances, prune=prune, events=events))


@app.command
def show(*, module: PositiveId | None = None, json: bool = False) -> int:
    """Show what the catalogue holds: its version and a line for each business, or one module in full.

    Args:
        module: The module to show: its template's processes with their locked values, and how many hosts it has.
        json: Print it as JSON.
    """
    return _show_businesses(json=json) if module is None else _show_module(module, json=json)


def _import_instances(files: Sequence[Path], *, prune: bool, dry_run: bool, json: bool) -> int:
    if dry_run:
        refuse("--dry-run is for the catalogue; --instances always writes")
        return 2
    answers, unreadable = read_files(files, read_list)
    run = partial(
        import_instances,
        answers=answers,
        first_id=load_settings().first_id,
        prune=prune,
        unreadable=unreadable,
        age_s=age_s(files),
    )
    report = in_database(run, statement_timeout_ms=STATEMENT_TIMEOUT_MS, found=unreadable)
    print_report(report, json=json)
    return 1 if report.left_out else 0


def _pull_instances(cmdb: Cmdb, bk_biz_id: int, *, prune: bool) -> InstanceReport:
    first_id = load_settings().first_id
    with cmdb, progress_bars() as progress:
        task = progress.add_task("service instances", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        run = partial(pull_instances, cmdb=cmdb, bk_biz_id=bk_biz_id, first_id=first_id, prune=prune, tell=tell)
        return in_database(run, statement_timeout_ms=STATEMENT_TIMEOUT_MS)


def _show_businesses(*, json: bool) -> int:
    async def run(engine: Engine) -> CatalogueSummary:
        async with engine.connect() as connection:
            return await read_summary(connection)

    summary = in_database(run)
    if json:
        out.print_json(data=asdict(summary), default=str)
    else:
        out.print(summary_view(summary))
    return 0


def _show_module(bk_module_id: int, *, json: bool) -> int:
    async def run(engine: Engine) -> tuple[ModuleSummary | None, Sequence[ProcessTemplate]]:
        async with engine.connect() as connection:
            module = await read_module(connection, bk_module_id)
        templates = (await Catalogue(engine, check_ms=0).slice(0, bk_module_id, ())).process_templates
        return module, templates

    module, templates = in_database(run)
    if module is None:
        return refuse(f"module {bk_module_id} is not in the catalogue")
    if json:
        out.print_json(data=asdict(module) | {"process_templates": list(map(asdict, templates))})
    else:
        out.print(module_view(module, templates))
    return 0
