"""What a caller asks for, checked: types, limits and codes are those of CMDB's listings."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from contract.codes import Code, Refused
from contract.request.batch import MAX_INT64
from worker.postgres.instance_reads import ORDERS, Filter, Label

MAX_LIMIT: Final = 1000
MAX_HOSTS: Final = 1000
_MAX_SELECTORS: Final = 20
_MAX_START: Final = 10_000_000
_OPERATORS: Final = ("=", "!=", "in", "notin", "exists", "!")


class Page(NamedTuple):
    """`order` is one of `ORDERS`."""

    start: int
    limit: int
    order: str


def business(body: Mapping[str, Any]) -> int:
    """The business, without which CMDB lists nothing."""
    bk_biz_id = _id(body, "bk_biz_id")
    if bk_biz_id is None:
        raise Refused.field(Code.PARAM_INVALID, "bk_biz_id")
    return bk_biz_id


def page(body: Mapping[str, Any], *, needs_limit: bool, order: str) -> Page:
    """``page.start``, ``page.limit`` and ``page.sort``; raises `Refused` (1199059) beyond CMDB's bounds."""
    said = body.get("page")
    if said is None:
        said = {}
    if not isinstance(said, dict):
        raise Refused.field(Code.PARAM_INVALID, "page")
    start, limit, sort = (said.get(name) or default for name, default in (("start", 0), ("limit", 0), ("sort", order)))
    if type(start) is not int or type(limit) is not int:
        raise Refused.field(Code.PARAM_NOT_INT, "page")
    if not (0 <= start <= _MAX_START and 0 <= limit <= MAX_LIMIT) or (needs_limit and not limit):
        raise Refused(Code.PAGE_LIMIT_INVALID, path="page")
    if sort not in ORDERS:
        raise Refused.field(Code.PARAM_INVALID, "page.sort")
    return Page(start, limit or MAX_LIMIT, sort)


def selection(body: Mapping[str, Any], accounts: tuple[str, ...]) -> Filter:
    """What CMDB's two listings of service instances filter by.

    Raises:
        Refused: 1199035 for more than 1000 hosts, 1199006, 1199007 or 1199009 for a value of the wrong kind.
    """
    hosts = _ids(body, "bk_host_ids")
    if (listed := _ids(body, "bk_host_list")) is not None:
        hosts = listed
    if (host := _id(body, "bk_host_id")) is not None:
        if listed is not None:
            raise Refused.field(Code.PARAM_INVALID, "bk_host_id")
        hosts = [host]
    part = body.get("search_key") or ""
    if not isinstance(part, str) or "\x00" in part:
        raise Refused.field(Code.PARAM_NOT_TEXT, "search_key")
    return Filter(
        accounts=accounts,
        bk_biz_id=business(body),
        bk_module_id=_id(body, "bk_module_id"),
        bk_host_ids=hosts,
        ids=_ids(body, "service_instance_ids"),
        name_part=part,
        labels=_labels(body),
    )


def one_instance(body: Mapping[str, Any], accounts: tuple[str, ...]) -> Filter:
    """The instance whose processes ``list_process_instance`` asks for."""
    id_ = _id(body, "service_instance_id")
    if id_ is None:
        raise Refused.field(Code.PARAM_INVALID, "service_instance_id")
    return Filter(accounts, business(body), ids=[id_])


def one_module(body: Mapping[str, Any], accounts: tuple[str, ...]) -> Filter:
    """The module, and the hosts of it, among which ``with_no_service_instance`` looks."""
    module = _id(body, "bk_module_id")
    if module is None:
        raise Refused.field(Code.PARAM_INVALID, "bk_module_id")
    return Filter(accounts, business(body), bk_module_id=module, bk_host_ids=_ids(body, "bk_host_ids"))


def _id(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None or value == 0:
        return None
    if type(value) is not int:
        raise Refused.field(Code.PARAM_NOT_INT, name)
    if not 0 < value <= MAX_INT64:
        raise Refused.field(Code.PARAM_INVALID, name)
    return value


def _ids(body: Mapping[str, Any], name: str) -> list[int] | None:
    """None and [] select all, as in CMDB."""
    values = body.get(name) or None
    if values is None:
        return None
    if not isinstance(values, list):
        raise Refused.field(Code.PARAM_INVALID, name)
    if len(values) > MAX_HOSTS:
        raise Refused(Code.TOO_MANY, name, MAX_HOSTS, path=name)
    for index, value in enumerate(values):
        if type(value) is not int:
            raise Refused.field(Code.PARAM_NOT_INT, f"{name}[{index}]")
        if not 0 < value <= MAX_INT64:
            raise Refused.field(Code.PARAM_INVALID, f"{name}[{index}]")
    return values


def _labels(body: Mapping[str, Any]) -> list[Label]:
    selectors = body.get("selectors") or []
    if not isinstance(selectors, list) or len(selectors) > _MAX_SELECTORS:
        raise Refused.field(Code.PARAM_INVALID, "selectors")
    return [_label(f"selectors[{index}]", said) for index, said in enumerate(selectors)]


def _label(path: str, said: Any) -> Label:
    if not isinstance(said, dict):
        raise Refused.field(Code.PARAM_INVALID, path)
    key, operator, values = said.get("key"), said.get("operator"), said.get("values") or []
    if not isinstance(key, str) or not key or "\x00" in key:
        raise Refused.field(Code.PARAM_INVALID, f"{path}.key")
    if operator not in _OPERATORS:
        raise Refused.field(Code.PARAM_INVALID, f"{path}.operator")
    if isinstance(values, str):
        values = [values]
    needs_values = operator not in ("exists", "!")
    if not isinstance(values, list) or bool(values) is not needs_values:
        raise Refused.field(Code.PARAM_INVALID, f"{path}.values")
    if not all(isinstance(value, str) and "\x00" not in value for value in values):
        raise Refused.field(Code.PARAM_INVALID, f"{path}.values")
    return Label(key, operator, tuple(values))
