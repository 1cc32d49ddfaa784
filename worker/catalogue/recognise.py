"""Which of CMDB's APIs has listed an item: told by what its items alone have."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple


class _Api(NamedTuple):
    """An API, by CMDB's name, whose items have all of `marks`."""

    name: str
    marks: frozenset[str]


def _api(name: str, *marks: str) -> _Api:
    return _Api(name, frozenset(marks))


# In this order: the first whose marks an item has. Others' items have the marks of ours, and more.
_APIS: Final = (
    _api("list_biz_hosts_topo", "host", "topo"),
    _api("find_module_host_relation", "host", "modules"),
    _api("list_process_instance", "property", "relation"),
    _api("list_proc_template", "id", "property"),
    _api("list_service_instance", "id", "bk_host_id", "bk_module_id"),
    _api("find_host_service_template", "bk_host_id", "service_template_id"),
    _api("list_process_related_info", "service_instance_id"),
    _api("list_process_detail_by_ids", "bk_process_id"),
    _api("list_host_apply_rule", "bk_module_id", "bk_attribute_id"),
    _api("find_host_biz_relations", "bk_host_id", "bk_module_id"),
    _api("find_module_batch", "bk_module_id"),
    _api("list_biz_hosts", "bk_host_id"),
    _api("list_service_template", "id", "name", "service_category_id"),
    _api("list_service_category", "id", "name", "bk_parent_id"),
    _api("list_set_template", "id", "name", "version"),
    _api("search_set", "bk_set_id", "bk_set_name"),
    _api("search_business", "bk_biz_id", "bk_biz_name"),
    _api("search_biz_inst_topo", "bk_inst_id", "bk_obj_id"),
)


def api_of(items: Sequence[Any], catalogue: Collection[str]) -> str | None:
    """The API that `items` are of: one that is not among `catalogue` if any item is of such a one, else the first's."""
    first = None
    for item in items:
        api = _api_of(item)
        if api is not None and api not in catalogue:
            return api
        first = first or api
    return first


def _api_of(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    keys = item.keys()
    return next((api.name for api in _APIS if api.marks <= keys), None)
