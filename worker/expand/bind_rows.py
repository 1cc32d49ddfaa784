"""Bind rows of one process: a caller's own (CMDB 3.2), and a template's merged with a caller's (CMDB 3.5, 3.6)."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from contract.batch import MAX_INT64, BindRow
from contract.codes import Code, Reason, Refused
from worker.expand.addresses import PROTOCOL_FAMILY, canonical_ip, resolve_template_ip
from worker.expand.catalogue import BindTemplate, Host
from worker.expand.plan import PlannedBind
from worker.expand.ports import port_range
from worker.expand.where import Warnings, Where

_COLUMNS: Final = ("ip", "port", "protocol", "enable")
_NONE: Final[frozenset[str]] = frozenset()


class _Row(NamedTuple):
    """A row to be checked: its values, and which of them a caller sent (the rest is the template's)."""

    template_row_id: int
    ip: str | None
    port: str | None
    protocol: str | None
    enable: bool | None
    position: int | None = None
    sent: frozenset[str] = _NONE


def unbound_rows(where: Where, rows: Sequence[BindRow]) -> tuple[PlannedBind, ...]:
    """Return the rows of a process without a template.

    A row without `template_row_id` (absent, null, or 0, which is CMDB's "none") gets the highest one of its process
    plus 1, in row order.

    Raises:
        Refused: 1199014 for an id that is given twice, 1199010 for a missing port or protocol, 1199006 for an unknown
            protocol or one of another IP version than the address, 1199011 for anything malformed.
    """
    _check_ids_differ(where, rows)
    last = max((row.template_row_id or 0 for row in rows), default=0)
    planned = []
    for position, row in enumerate(rows):
        row_id = row.template_row_id
        if not row_id:
            last += 1
            row_id = last
        if not 0 < row_id <= MAX_INT64:
            raise Refused.field(Code.VALUE_INVALID, where.path(f"bind_info[{position}].template_row_id"))
        sent = _Row(row_id, row.ip, row.port, row.protocol, row.enable, position, frozenset(_COLUMNS))
        planned.append(_checked(where, sent))
    return tuple(planned)


def bound_rows(
    where: Where, templates: Sequence[BindTemplate], host: Host, rows: Sequence[BindRow], warnings: Warnings
) -> tuple[PlannedBind, ...]:
    """Return the template's rows in its order, the unlocked columns of each taken from the caller's row of the same id.

    A column that the caller's row leaves out keeps the template's value; CMDB would read null there and refuse it.

    Raises:
        Refused: as `unbound_rows` for what the caller sent; for what came from the template 1199006 when it has no port
            or no protocol (CMDB V19) and 1108008 when it cannot be a row of an instance, as a list of ports (CMDB V20).
    """
    _check_ids_differ(where, rows)
    positions = {row.template_row_id: position for position, row in enumerate(rows)}
    planned = []
    for template in templates:
        row = _Row(
            template.row_id,
            resolve_template_ip(template.ip.value, host),
            template.port.value,
            template.protocol.value,
            template.enable.value,
            positions.pop(template.row_id, None),
        )
        if row.position is not None:
            row = _merged(where, template, row, rows[row.position], warnings)
        planned.append(_checked(where, row))
    if positions:
        _warn_of_others(where, templates, rows, warnings)
    return tuple(planned)


def _merged(where: Where, template: BindTemplate, row: _Row, caller: BindRow, warnings: Warnings) -> _Row:
    taken = {}
    for name in _COLUMNS:
        if name not in caller.model_fields_set:
            continue
        value = getattr(caller, name)
        if not getattr(template, name).locked:
            taken[name] = value
        elif _is_other(name, value, getattr(row, name)):
            warnings.add(where, f"bind_info[{row.position}].{name}", Reason.LOCKED)
    return row._replace(**taken, sent=frozenset(taken)) if taken else row


def _is_other(column: str, wanted: Any, stored: Any) -> bool:
    if column == "ip" and wanted:
        found = canonical_ip(wanted)
        return found is None or found[0] != stored
    return (wanted or None) != (stored or None)


def _check_ids_differ(where: Where, rows: Sequence[BindRow]) -> None:
    first: dict[int, int] = {}
    for position, row in enumerate(rows):
        row_id = row.template_row_id or 0
        if row_id > 0 and first.setdefault(row_id, position) != position:
            paths = [where.path(f"bind_info[{index}].template_row_id") for index in (first[row_id], position)]
            raise Refused(Code.DUPLICATE, ", ".join(paths), path=paths[1])


def _warn_of_others(
    where: Where, templates: Sequence[BindTemplate], rows: Sequence[BindRow], warnings: Warnings
) -> None:
    known = {template.row_id for template in templates}
    for position, row in enumerate(rows):
        if row.template_row_id not in known:
            warnings.add(where, f"bind_info[{position}]", Reason.ROW_UNMATCHED)


def _checked(where: Where, row: _Row) -> PlannedBind:
    text, version = "", None
    if row.ip:
        found = canonical_ip(row.ip)
        if found is None:
            raise _refusal(where, row, "ip", Code.VALUE_INVALID)
        text, version = found
    if not row.port:
        raise _refusal(where, row, "port", Code.PARAM_REQUIRED)
    if port_range(row.port) is None:
        raise _refusal(where, row, "port", Code.VALUE_INVALID)
    if not row.protocol:
        raise _refusal(where, row, "protocol", Code.PARAM_REQUIRED)
    family = PROTOCOL_FAMILY.get(row.protocol)
    if family is None:
        raise _refusal(where, row, "protocol", Code.PARAM_INVALID)
    if version is not None and version != family:
        raise _refusal(where, row, "protocol" if "protocol" in row.sent else "ip", Code.PARAM_INVALID)
    return PlannedBind(row.template_row_id, text, row.port, row.protocol, bool(row.enable))


def _refusal(where: Where, row: _Row, column: str, code: Code) -> Refused:
    if column in row.sent:
        return Refused.field(code, where.path(f"bind_info[{row.position}].{column}"))
    path = where.in_template().path(f"bind_info[template_row_id={row.template_row_id}].{column}")
    missing = code is Code.PARAM_REQUIRED
    return Refused.field(Code.PARAM_INVALID if missing else Code.CREATE_PROCESS_FAILED, path)
