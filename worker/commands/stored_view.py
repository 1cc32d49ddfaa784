"""Print stored service instances, their processes and bind rows."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from worker.commands.console import in_database, out, refuse, uncut
from worker.postgres.rows import BIND_COLUMNS, read_instance, read_request

Plain = Mapping[str, Any]

_OWN_COLUMNS: Final = ("bk_process_id", "process_template_id", "bk_process_name", "bk_func_name")
_NOT_SHOWN: Final = frozenset({
    *_OWN_COLUMNS, "bind_info", "service_instance_id", "bk_biz_id", "bk_host_id", "bk_supplier_account",
    "bk_created_by", "create_time", "last_time",
})  # fmt: skip
_PROTOCOLS: Final = {"1": "1 TCP", "2": "2 UDP", "3": "3 TCP6", "4": "4 UDP6"}


def show_instance(service_instance_id: int, *, json: bool) -> int:
    """Print one service instance; exit code 1 when there is none."""
    instance = in_database(lambda engine: read_instance(engine, service_instance_id))
    if instance is None:
        return refuse(f"there is no service instance {service_instance_id}")
    _print(instance, _instance_view(instance), json=json)
    return 0


def show_request(request_id: str, *, json: bool) -> int:
    """Print what a request left behind; exit code 1 when it has not ended or never was."""
    found = in_database(lambda engine: read_request(engine, request_id))
    if found is None:
        return refuse("no request of that id has ended")
    _print(found, _request_view(found), json=json)
    return 0


def _print(found: Plain, view: Iterator[RenderableType], *, json: bool) -> None:
    if json:
        out.print_json(data=found, default=_plain)
    else:
        for part in view:
            out.print(part, highlight=False)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _request_view(found: Plain) -> Iterator[RenderableType]:
    ledger, audit, instances = found["ledger"], found["audit"], found["service_instances"]
    if ledger is not None:
        yield Text(
            f"Request {ledger['request_id']} of {ledger['bk_app_code'] or 'an anonymous application'} for module "
            f"{ledger['bk_module_id']} of business {ledger['bk_biz_id']}: {ledger['status']}, code {ledger['code']}, "
            f"finished {ledger['finished_at']:%Y-%m-%d %H:%M:%S %Z} at attempt {ledger['attempt']}"
        )
    if audit is None:
        yield Text("It wrote nothing.")
        return
    healed = frozenset(audit["healed_ids"])
    for instance in instances:
        yield Text()
        yield from _instance_view(instance, "healed" if instance["id"] in healed else "created")
    gone = len(audit["created_ids"]) + len(audit["healed_ids"]) - len(instances)
    if gone > 0:
        yield Text(f"{gone} of its service instances are gone.", style="yellow")


def _instance_view(instance: Plain, outcome: str = "") -> Iterator[RenderableType]:
    template = instance["service_template_id"]
    yield Text(
        f"Service instance {instance['id']} {instance['name']}{outcome and f' ({outcome})'}: "
        f"host {instance['bk_host_id']}, module {instance['bk_module_id']}, business {instance['bk_biz_id']}, "
        f"{f'service template {template}' if template else 'no service template'}, "
        f"created by {instance['creator'] or 'nobody named'} at {instance['create_time']:%Y-%m-%d %H:%M:%S %Z}"
    )
    if instance["cmdb"] is not None:
        yield from _cmdb_view(instance["cmdb"])
    processes = [pair["process"] for pair in instance["process_instances"]]
    if not processes:
        yield Text("It has no process.")
        return
    yield _process_table(processes)
    if any(process["bind_info"] for process in processes):
        yield _bind_table(processes)


def _gone(known: Plain) -> str:
    since = f"{known['gone_at']:%Y-%m-%d %H:%M:%S %Z}"
    if known["id"] is not None:
        return f"CMDB had it as {known['id']} and lists it no more since {since}"
    return f"CMDB did not list it at {since}, and does again: as the one that a request has created here anew meanwhile"


def _cmdb_view(known: Plain) -> Iterator[RenderableType]:
    if known["gone_at"] is None:
        yield Text(f"CMDB has it as {known['id']}.")
    else:
        yield Text(f"Gone: {_gone(known)}. It is kept, and no request finds it.", style="yellow")
    for content in known["gone"]:
        yield Text(f"CMDB has no more: {_named(content)}", style="yellow")


def _named(content: Plain) -> str:
    """A process, or a bind row alone, that was under an instance."""
    if "template_row_id" in content:
        return f"bind row {content['template_row_id']} of process {content.get('bk_process_id')}"
    return f"process {content.get('bk_process_id')} {content.get('bk_process_name')}"


def _process_table(processes: list[Plain]) -> Table:
    table = uncut(*_OWN_COLUMNS, "other values")
    for process in processes:
        others = [
            f"{name}={value}" for name, value in process.items() if name not in _NOT_SHOWN and value not in (None, "")
        ]
        table.add_row(*(Text(str(process[name])) for name in _OWN_COLUMNS), Text("\n".join(others)))
    return table


def _bind_table(processes: list[Plain]) -> Table:
    table = uncut("bk_process_id", *BIND_COLUMNS)
    for process in processes:
        for row in process["bind_info"]:
            shown = {**row, "protocol": _PROTOCOLS.get(row["protocol"], row["protocol"])}
            table.add_row(str(process["bk_process_id"]), *(Text(str(shown[name])) for name in BIND_COLUMNS))
    return table
