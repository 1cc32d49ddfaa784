"""`bksi catalogue …`: bring CMDB's modules, hosts and templates in, and look at them."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from worker.catalogue.answers import Kind

app = App(
    name="catalogue",
    help="CMDB's modules, hosts and templates.",
    default_parameter=Parameter(negative=()),
)

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
    from worker.catalogue.commands import import_files, import_instance_files  # noqa: PLC0415 - see worker.cli

    if instances:
        return import_instance_files(files, prune=prune, dry_run=dry_run, json=json)
    return import_files(files, kind=kind, bk_biz_id=biz, prune=prune, yes=yes, force=force, dry_run=dry_run, json=json)


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
    from worker.catalogue.commands import pull_business  # noqa: PLC0415 - see worker.cli

    return pull_business(
        url,
        biz,
        authorization_file=authorization_file,
        supplier_account=supplier_account,
        state_dir=state_dir,
        prune=prune,
        force=force,
        instances=instances,
        dry_run=dry_run,
        json=json,
    )


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
    from worker.catalogue.commands import watch_businesses  # noqa: PLC0415 - see worker.cli

    watch_businesses(url, biz, every_s=every, instances=instances, prune=prune, authorization_file=authorization_file)


@app.command
def show(*, module: PositiveId | None = None, json: bool = False) -> int:
    """Show what the catalogue holds: its version and a line for each business, or one module in full.

    Args:
        module: The module to show: its template's processes with their locked values, and how many hosts it has.
        json: Print it as JSON.
    """
    from worker.catalogue.commands import show_businesses, show_module  # noqa: PLC0415 - see worker.cli

    return show_businesses(json=json) if module is None else show_module(module, json=json)
