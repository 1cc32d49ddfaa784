"""What CMDB makes of a process: of a caller's values alone, or of a template with the caller's values over it."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from chaos.cmdb.exchange import Item, Refused

_SHORT, _LONG = 256, 2000
TEXTS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("bk_process_name", "bk_func_name", "description", "user"), _SHORT),
    **dict.fromkeys(
        ("bk_start_param_regex", "work_path", "start_cmd", "stop_cmd", "restart_cmd", "face_stop_cmd"), _LONG
    ),
    **dict.fromkeys(("reload_cmd", "pid_file"), _LONG),
}
NUMBERS: Final = {"proc_num": (1, 10000), "timeout": (1, 10000), "priority": (-100, 10000)} | {
    "bk_start_check_secs": (0, 600)
}
PROPERTIES: Final = (*TEXTS, *NUMBERS, "auto_start")
_NAMES: Final = ("bk_process_name", "bk_func_name")
_COLUMNS: Final = ("ip", "port", "protocol", "enable")
_PORT: Final = re.compile(r"([1-9]\d{0,4})(-[1-9]\d{0,4})?")
_FIXED: Final = {"1": "127.0.0.1", "2": "0.0.0.0", "5": "::1", "6": "::"}  # noqa: S104 - an address to store
_OF_HOST: Final = {"3": "bk_host_innerip", "4": "bk_host_outerip"} | {
    "7": "bk_host_innerip_v6",
    "8": "bk_host_outerip_v6",
}


def of_caller(info: Item) -> Item:
    """A process of a module without template: what is absent has its default, what is unknown is dropped.

    Raises:
        Refused: a name is missing, or a value is none.
    """
    if any(not info.get(name) for name in _NAMES):
        raise Refused(1199010, "bk_process_name and bk_func_name must be set")
    defaults: Item = {**dict.fromkeys(TEXTS, ""), **dict.fromkeys(NUMBERS), "auto_start": False, "bind_info": None}
    values = {name: _trimmed(info.get(name, default)) for name, default in defaults.items()}
    _check(values, 1199011)
    return values


def replaced(info: Item) -> Item:
    """A process of a module without template, updated: what is not sent becomes null.

    Raises:
        Refused: a name is missing, or a value is none.
    """
    values = {name: _trimmed(info.get(name)) for name in (*PROPERTIES, "bind_info")}
    _check(values, 1199011)
    return values


def of_template(template: Item, host: Item) -> Item:
    """A process as its template alone makes it.

    Raises:
        Refused: the template holds what no process may have.
    """
    columns = template["property"]
    values = {name: columns.get(name, {}).get("value") for name in PROPERTIES}
    values["bind_info"] = [_row_of_template(row, host) for row in _template_rows(template)]
    _check(values, 1108008)
    return values


def overridden(template: Item, host: Item, values: Item, info: Item) -> Item:
    """The template's process with a caller's values where the template has none locked.

    Raises:
        Refused: a value is none.
    """
    columns = template["property"]
    free = [name for name in PROPERTIES if name in info and not columns.get(name, {}).get("as_default_value")]
    merged = values | {name: _trimmed(info[name]) for name in free}
    given = {row.get("template_row_id"): row for row in info.get("bind_info") or ()}
    merged["bind_info"] = [_row(row, given.get(row["row_id"]), host) for row in _template_rows(template)]
    _check(merged, 1199011)
    return merged


def check_unique(processes: Iterable[Item]) -> None:
    """A name, and a function with its start parameters, stands once under an instance.

    Raises:
        Refused: one stands twice.
    """
    names: set[str] = set()
    starts: set[tuple[str, str | None]] = set()
    for process in processes:
        name, start = process["bk_process_name"], (process["bk_func_name"], process.get("bk_start_param_regex"))
        if name in names or start in starts:
            raise Refused(1199014, "duplicate bk_process_name, or bk_func_name with bk_start_param_regex")
        names.add(name)
        if start[1] is not None:  # a null is in no unique index
            starts.add(start)


def first_port(processes: Sequence[Item]) -> str:
    """The port that a generated name ends with, or nothing."""
    rows = (processes[0].get("bind_info") or ()) if processes else ()
    return str(next((row["port"] for row in rows if row.get("port") is not None), ""))


def _template_rows(template: Item) -> list[Item]:
    rows: list[Item] = template["property"].get("bind_info", {}).get("value") or []
    return rows


def _row_of_template(row: Item, host: Item) -> Item:
    value = {name: (row.get(name) or {}).get("value") for name in _COLUMNS}
    found = {**value, "ip": _address(value["ip"], host), "enable": bool(value["enable"])}
    return {"template_row_id": row["row_id"], **found}


def _row(row: Item, given: Item | None, host: Item) -> Item:
    made = _row_of_template(row, host)
    if given is None:
        return made
    free = [name for name in _COLUMNS if not (row.get(name) or {}).get("as_default_value")]
    return made | {name: given.get(name) for name in free}


def _address(kind: str | None, host: Item) -> str:
    stored = host.get(_OF_HOST.get(kind or "", ""), "") or ""
    first = stored[0] if isinstance(stored, list) and stored else stored
    return _FIXED.get(kind or "") or str(first or "").split(",")[0]


def _check(values: Item, code: int) -> None:
    for name, most in TEXTS.items():
        if (text := values[name]) is not None and not (isinstance(text, str) and len(text.encode()) <= most):
            raise Refused(code, name)
    for name, (lowest, highest) in NUMBERS.items():
        if (number := values[name]) is not None and not (_is_int(number) and lowest <= number <= highest):
            raise Refused(code, name)
    if not all(values[name] for name in _NAMES):
        raise Refused(code, "bk_process_name, bk_func_name")
    if values["auto_start"] not in (True, False, None):
        raise Refused(code, "auto_start")
    if not (values["bind_info"] is None or isinstance(values["bind_info"], list)):
        raise Refused(code, "bind_info")
    for row in values["bind_info"] or ():
        _check_row(row, code)


def _check_row(row: Item, code: int) -> None:
    if set(row) - {*_COLUMNS, "template_row_id"} or not {row.get("enable", False)} <= {True, False}:
        raise Refused(code, "bind_info")
    if "port" in row and not _PORT.fullmatch(str(row["port"]).strip()):
        raise Refused(code, "bind_info.port")
    if "protocol" in row and row["protocol"] not in ("1", "2", "3", "4"):
        raise Refused(code, "bind_info.protocol")
    try:
        if row.get("ip"):
            ipaddress.ip_address(row["ip"])
    except ValueError:
        raise Refused(code, "bind_info.ip") from None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _trimmed(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value
