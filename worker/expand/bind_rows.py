"""Bind rows of one process: a caller's own (CMDB 3.2), and a template's merged with a caller's (CMDB 3.5, 3.6)."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self, cast

from contract.codes import Code, Reason, Refused, Why
from contract.request.batch import MAX_INT64, BindRow
from worker.expand.bind_columns import (
    PROTOCOL_FAMILY,
    canonical_ip,
    depends_on_host,
    port_range,
    resolve_template_ip,
)
from worker.expand.catalogue import BindTemplate, Host
from worker.expand.plan import PlannedBind, Warnings, Where

_COLUMNS: Final = ("ip", "port", "protocol", "enable")
_NOT_SENT: Final[tuple[int, BindRow]] = 0, {}
_NO_HOST: Final = Host(0)


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A bind row of a process template made ready for merging; `ip` is CMDB's enum, to be resolved for each host.

    `fixed` is the row of every instance for which no caller sent one, when it is the same on all hosts.
    """

    row_id: int
    ip: str | None
    port: str
    protocol: str
    enable: bool
    locked: frozenset[str]
    fixed: PlannedBind | None
    depends_on_host: bool

    @classmethod
    def of(cls, template: BindTemplate) -> Self:
        """Prepare `template`; `enable` null is false."""
        ip, port, protocol = template.ip.value, template.port.value or "", template.protocol.value or ""
        locked = frozenset(name for name in _COLUMNS if getattr(template, name).locked)
        row = cls(template.row_id, ip, port, protocol, bool(template.enable.value), locked, None, depends_on_host(ip))
        address = _storable_ip(resolve_template_ip(ip, _NO_HOST), port, protocol)
        if row.depends_on_host or isinstance(address, _Fault):
            return row
        return replace(row, fixed=PlannedBind(row.row_id, address, port, protocol, row.enable))


class _Fault(NamedTuple):
    column: str
    code: Code
    why: Why | None = None


def unbound_rows(where: Where, rows: Sequence[BindRow]) -> tuple[PlannedBind, ...]:
    """Return the rows of a process without a template.

    A row without `template_row_id` (absent, null, or 0, which is CMDB's "none") gets the highest one of its process
    plus 1, in row order.

    Raises:
        Refused: 1199014 for an id that is given twice, 1199010 for a missing port or protocol, 1199006 for an unknown
            protocol or one of another IP version than the address, 1199011 for anything malformed.
    """
    last = max(_positions(where, rows), default=0)
    planned = []
    for position, row in enumerate(rows):
        row_id = row.get("template_row_id")
        if not row_id:
            last += 1
            row_id = last
        if not 0 < row_id <= MAX_INT64:
            raise Refused.field(Code.VALUE_INVALID, where.path(f"bind_info[{position}].template_row_id"))
        port, protocol = row.get("port") or "", row.get("protocol") or ""
        ip = _storable_ip(row.get("ip") or "", port, protocol)
        if not isinstance(ip, str):
            raise Refused.field(ip.code, where.path(f"bind_info[{position}].{ip.column}"), ip.why)
        planned.append(PlannedBind(row_id, ip, port, protocol, bool(row.get("enable"))))
    return tuple(planned)


def bound_rows(
    where: Where, templates: Sequence[TemplateRow], host: Host, rows: Sequence[BindRow], warnings: Warnings
) -> tuple[PlannedBind, ...]:
    """Return the template's rows in its order, the unlocked columns of each taken from the caller's row of the same id.

    A column that the caller's row leaves out keeps the template's value; CMDB would read null there and refuse it.

    Raises:
        Refused: as `unbound_rows` for what the caller sent; for what came from the template 1199006 when it has no port
            or no protocol (CMDB V19) and 1108008 when it cannot be a row of an instance, as a list of ports (CMDB V20).
    """
    positions = _positions(where, rows) if rows else {}
    planned, matched = [], 0
    for template in templates:
        position = positions.get(template.row_id)
        if position is not None:
            matched += 1
            planned.append(_bound_row(where, template, host, (position, rows[position]), warnings))
        else:
            planned.append(template.fixed or _bound_row(where, template, host, _NOT_SENT, warnings))
    if matched < len(rows):
        known = {template.row_id for template in templates}
        for position, row in enumerate(rows):
            if row.get("template_row_id") not in known:
                warnings.add(where, f"bind_info[{position}]", Reason.ROW_UNMATCHED)
    return tuple(planned)


def _bound_row(
    where: Where, template: TemplateRow, host: Host, caller: tuple[int, BindRow], warnings: Warnings
) -> PlannedBind:
    position, given = caller
    if not template.locked.isdisjoint(given):
        _warn_of_locked(where, template, host, caller, warnings)
        given = _without(template.locked, given)
    ip = given["ip"] or "" if "ip" in given else resolve_template_ip(template.ip, host)
    port = given.get("port", template.port) or ""
    protocol = given.get("protocol", template.protocol) or ""
    found = _storable_ip(ip, port, protocol)
    if isinstance(found, _Fault):
        raise _refusal(where, template, position, given.keys(), found)
    return PlannedBind(template.row_id, found, port, protocol, bool(given.get("enable", template.enable)))


def _without(locked: Set[str], row: BindRow) -> BindRow:
    return cast("BindRow", {name: value for name, value in row.items() if name not in locked})


def _warn_of_locked(
    where: Where, template: TemplateRow, host: Host, caller: tuple[int, BindRow], warnings: Warnings
) -> None:
    position, given = caller
    for name in _COLUMNS:
        if name in template.locked and name in given:
            stored = resolve_template_ip(template.ip, host) if name == "ip" else getattr(template, name)
            if _is_other(name, given[name], stored):
                warnings.add(where, f"bind_info[{position}].{name}", Reason.LOCKED)


def _refusal(where: Where, template: TemplateRow, position: int, sent: Set[str], fault: _Fault) -> Refused:
    column, code, why = fault
    if column == "ip" and "ip" not in sent and "protocol" in sent:
        column = "protocol"  # the address is the template's: the protocol does not fit it
    if column in sent:
        return Refused.field(code, where.path(f"bind_info[{position}].{column}"), why)
    path = where.in_template().path(f"bind_info[template_row_id={template.row_id}].{column}")
    return Refused.field(Code.PARAM_INVALID if code is Code.PARAM_REQUIRED else Code.CREATE_PROCESS_FAILED, path)


def _is_other(column: str, wanted: Any, stored: Any) -> bool:
    if column == "ip" and wanted:
        found = canonical_ip(wanted)
        return found is None or found[0] != stored
    return bool(wanted != stored and (wanted or stored))


def _positions(where: Where, rows: Sequence[BindRow]) -> dict[int, int]:
    """Return where the row of each given (positive) id stands; raises `Refused` (1199014) for one that comes twice."""
    found: dict[int, int] = {}
    for position, row in enumerate(rows):
        row_id = row.get("template_row_id")
        if row_id is not None and row_id > 0:
            if row_id in found:
                paths = [where.path(f"bind_info[{index}].template_row_id") for index in (found[row_id], position)]
                raise Refused(Code.DUPLICATE, ", ".join(paths), path=paths[1])
            found[row_id] = position
    return found


@lru_cache(maxsize=8192)
def _storable_ip(ip: str, port: str, protocol: str) -> str | _Fault:
    """Check a row; return its address in canonical form, or the first column at fault."""
    found = canonical_ip(ip) if ip else None
    if ip and found is None:
        return _Fault("ip", Code.VALUE_INVALID)
    if not port:
        return _Fault("port", Code.PARAM_REQUIRED)
    if port_range(port) is None:
        return _Fault("port", Code.VALUE_INVALID)
    if not protocol:
        return _Fault("protocol", Code.PARAM_REQUIRED)
    family = PROTOCOL_FAMILY.get(protocol)
    if family is None:
        return _Fault("protocol", Code.PARAM_INVALID, Why.PROTOCOL)
    if found is None:
        return ""
    text, version = found
    return text if version == family else _Fault("ip", Code.PARAM_INVALID, Why.FAMILY)
