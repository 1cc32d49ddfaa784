"""Process templates as CMDB's APIs show them: read, checked, row ids filled in (CMDB 3.3, M/process.go:1813-2106).

What CMDB accepts in a template is accepted here, even where no instance can be made of it (a list of ports, a text too
long for the process model): an importer that left such a template out would let instances be created with a process
missing. The instance is refused instead, when it is asked for (CMDB V20).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from contract.codes import Code, Refused, Why
from contract.request.batch import MAX_INT64, PROCESS_PROPERTIES
from worker.expand.bind_columns import PROTOCOL_FAMILY, TEMPLATE_IP_FAMILY, is_template_port
from worker.expand.catalogue import BindTemplate, ProcessTemplate, TemplateProperty
from worker.expand.values import func_key, is_storable

# CMDB locks these in every template (CP/process_template.go:40-42), whatever `as_default_value` says.
_ALWAYS_LOCKED: Final = frozenset({"bk_process_name", "bk_func_name"})
# The ranges of the process model, but for this one (M/process.go:1862).
_TEMPLATE_RANGES: Final = {"bk_start_check_secs": (1, 10_000)}
_TYPES: Final[Mapping[str, type]] = {"text": str, "int": int, "bool": bool}


def parse_process_template(template_id: int, properties: Mapping[str, Any]) -> ProcessTemplate:
    """Read the `property` object of one item of CMDB's ``list_proc_template``.

    Every property is ``{"value": …, "as_default_value": bool}``; ``as_default_value`` true means locked. Properties
    that are absent are null and unlocked; unknown ones are ignored. Texts are trimmed.

    Raises:
        Refused: 1199006, or 1199014 for a `row_id` that comes twice. The path is the property's (``timeout``,
            ``bind_info[0].port``).
    """
    return ProcessTemplate(
        id=template_id,
        properties={name: _property(name, properties.get(name)) for name in PROCESS_PROPERTIES},
        bind_info=_bind_info(properties.get("bind_info")),
    )


def check_service_template(templates: Iterable[ProcessTemplate]) -> None:
    """Check what must differ between the process templates of one service template (CMDB 3.8).

    Raises:
        Refused: 1113019 with the name that comes twice, or 1113020 with the function and start regex; a null start
            regex is never the same as another.
    """
    names: set[str] = set()
    funcs: set[tuple[str, str]] = set()
    for template in templates:
        values = {name: column.value for name, column in template.properties.items()}
        name = values["bk_process_name"]
        if name in names:
            raise Refused(Code.TEMPLATE_NAME_DUPLICATE, name, path="bk_process_name")
        key = func_key(values)
        if key is not None and key in funcs:
            raise Refused(Code.TEMPLATE_FUNC_DUPLICATE, *key, path="bk_func_name")
        names.add(name)
        if key is not None:
            funcs.add(key)


def _property(name: str, column: object) -> TemplateProperty:
    found = _column(name, column)
    value, rule = found.value, PROCESS_PROPERTIES[name]
    if value is not None and type(value) is not _TYPES[rule.type]:
        raise Refused.field(Code.PARAM_INVALID, name, Why.WRONG_TYPE)
    if isinstance(value, str):
        value = value.strip()
    if rule.required and not value:
        raise Refused.field(Code.PARAM_INVALID, name, Why.EMPTY)
    if rule.type == "int" and value is not None:
        low, high = _TEMPLATE_RANGES.get(name, (rule.minimum, rule.maximum))
        if (low is not None and value < low) or (high is not None and value > high):
            raise Refused.field(Code.PARAM_INVALID, name, Why.OUT_OF_RANGE)
    return TemplateProperty(value, found.locked or name in _ALWAYS_LOCKED)


def _bind_info(column: object) -> tuple[BindTemplate, ...]:
    rows = _column("bind_info", column).value
    if rows is None:
        return ()
    if not isinstance(rows, list | tuple):
        raise Refused.field(Code.PARAM_INVALID, "bind_info", Why.NOT_A_LIST)
    parsed = [_bind_row(f"bind_info[{position}]", row) for position, row in enumerate(rows)]
    return tuple(_with_row_ids(parsed))


def _bind_row(path: str, row: object) -> BindTemplate:
    if not isinstance(row, Mapping):
        raise Refused.field(Code.PARAM_INVALID, path, Why.NOT_AN_OBJECT)
    row_id = row.get("row_id")
    if row_id is None:
        row_id = 0
    if type(row_id) is not int or not 0 <= row_id <= MAX_INT64:
        raise Refused.field(Code.PARAM_INVALID, f"{path}.row_id", Why.OUT_OF_RANGE)
    ip, port, protocol, enable = (
        _column(f"{path}.{name}", row.get(name)) for name in ("ip", "port", "protocol", "enable")
    )
    if ip.value not in (None, "") and not (isinstance(ip.value, str) and ip.value in TEMPLATE_IP_FAMILY):
        raise Refused.field(Code.PARAM_INVALID, f"{path}.ip", Why.NOT_LISTED)
    if not (isinstance(port.value, str) and is_template_port(port.value)):
        raise Refused.field(Code.PARAM_INVALID, f"{path}.port", Why.MALFORMED)
    if not (isinstance(protocol.value, str) and protocol.value in PROTOCOL_FAMILY):
        raise Refused.field(Code.PARAM_INVALID, f"{path}.protocol", Why.PROTOCOL)
    if ip.value and TEMPLATE_IP_FAMILY[ip.value] != PROTOCOL_FAMILY[protocol.value]:
        raise Refused.field(Code.PARAM_INVALID, f"{path}.ip", Why.FAMILY)
    if enable.value is not None and type(enable.value) is not bool:
        raise Refused.field(Code.PARAM_INVALID, f"{path}.enable", Why.WRONG_TYPE)
    return BindTemplate(row_id, ip, port, protocol, enable)


def _with_row_ids(rows: list[BindTemplate]) -> Iterable[BindTemplate]:
    """Number the rows that have no id, from the highest one on, in row order (CMDB M/process_bind_info.go:143-190)."""
    last = max((row.row_id for row in rows), default=0)
    taken: set[int] = set()
    for position, row in enumerate(rows):
        row_id = row.row_id
        if not row_id:
            last += 1
            row_id = last
        if row_id in taken:
            raise Refused.field(Code.DUPLICATE, f"bind_info[{position}].row_id")
        if row_id > MAX_INT64:
            raise Refused.field(Code.PARAM_INVALID, f"bind_info[{position}].row_id", Why.OUT_OF_RANGE)
        taken.add(row_id)
        yield BindTemplate(row_id, row.ip, row.port, row.protocol, row.enable)


def _column(path: str, column: object) -> TemplateProperty:
    if column is None:
        return TemplateProperty(None, locked=False)
    if not isinstance(column, Mapping):
        raise Refused.field(Code.PARAM_INVALID, path, Why.NOT_AN_OBJECT)
    locked = column.get("as_default_value")
    if locked is not None and type(locked) is not bool:
        raise Refused.field(Code.PARAM_INVALID, path, Why.WRONG_TYPE)
    value = column.get("value")
    if isinstance(value, str) and not is_storable(value):
        raise Refused.field(Code.PARAM_INVALID, path, Why.CHARACTERS)
    return TemplateProperty(value, bool(locked))
