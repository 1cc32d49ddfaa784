"""Of what a set of answers is the whole listing, so that what it lacks is known to be gone.

Only an import that says so (``--prune``) removes anything, and only inside what its answers list:

| answer | is a whole listing of | and removes |
|---|---|---|
| service templates | each business it names | service templates of the business, with their process templates |
| process templates | each service template it names | process templates of the service template |
| modules | each business it names | modules of the business, with their host relations |
| relations | each module it names | host relations of the module |
| hosts | nothing | nothing: a host that left a module has lost its relation, and that is all that counts |

What an answer names is what was asked for, when the document carries its ``request``, else what its items say. A
request with a filter (a name, single ids, …) lists less than its scope and removes nothing, and neither do pages
that are fewer items than CMDB counted.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from worker.catalogue.answers import Answer, Kind
from worker.catalogue.items import KEY_COLUMNS

Scope = Mapping[Kind, frozenset[int]]
"""For each kind the ids it is complete for: businesses, service templates, businesses, modules."""

SCOPE_COLUMNS: Final[Mapping[Kind, str]] = {
    Kind.SERVICE_TEMPLATE: "bk_biz_id",
    Kind.PROCESS_TEMPLATE: "service_template_id",
    Kind.MODULE: "bk_biz_id",
    Kind.MODULE_HOST_RELATION: "bk_module_id",
}
"""The column that says to which listing a stored row belongs."""

_ASKED: Final = {**SCOPE_COLUMNS, Kind.MODULE_HOST_RELATION: "bk_module_ids"}
_NO_FILTER: Final = frozenset({
    "bk_biz_id", "page", "fields", "host_fields", "module_fields", "is_exact", "bk_supplier_account", "bk_username",
    "bk_app_code",
})  # fmt: skip


def whole_listings(answers: Iterable[Answer], bk_biz_id: int | None = None) -> tuple[Scope, tuple[str, ...]]:
    """Find what `answers` list completely.

    Returns:
        The ids each kind is complete for, and a note on every listing that removes nothing though it was read.
    """
    groups: dict[tuple[Kind, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.kind is not None and answer.kind in SCOPE_COLUMNS:
            asked = {name: value for name, value in answer.request.items() if name not in ("page", "fields")}
            groups[answer.kind, json.dumps(asked, sort_keys=True)].append(answer)
    scope: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    notes = []
    for (kind, _), group in groups.items():
        if reason := _why_partial(kind, group):
            notes.append(f"{group[0].source}: {reason}; nothing is removed")
        else:
            scope[kind] |= _named(kind, group, bk_biz_id)
    return {kind: frozenset(ids) for kind, ids in scope.items()}, tuple(notes)


def why_filtered(requests: Iterable[Mapping[str, Any]], names_scope: str) -> str:
    """Why the answers to `requests` list less than what `names_scope`, a field of theirs, names; empty: they do not."""
    asked = {name for request in requests for name, value in request.items() if value}
    filters = sorted(asked - _NO_FILTER - {names_scope})
    return f"asked with {', '.join(filters)}, which is no whole listing" if filters else ""


def _why_partial(kind: Kind, group: list[Answer]) -> str | None:
    request = group[0].request
    if partial := next((answer.partial for answer in group if answer.partial), None):
        return partial
    if filtered := why_filtered([request], _ASKED[kind]):
        return filtered
    counts = {answer.count for answer in group if answer.count is not None}
    if len(counts) > 1 and request:
        return f"the listing changed while it was read, from {min(counts)} to {max(counts)} items"
    read = len({_identity(kind, item) for answer in group for item in answer.items})
    if counts and read < max(counts):
        return f"{read} of {max(counts)} items"
    return None


def _identity(kind: Kind, item: Any) -> str:
    holder = item.get("host", item) if isinstance(item, dict) else item
    if isinstance(holder, dict):
        return repr([holder.get(column) for column in KEY_COLUMNS[kind]])
    return repr(holder)


def _named(kind: Kind, group: list[Answer], bk_biz_id: int | None) -> set[int]:
    asked = group[0].request.get(_ASKED[kind])
    if asked is None and _ASKED[kind] == "bk_biz_id":
        asked = bk_biz_id
    found = asked if isinstance(asked, list) else [asked]
    if asked is None:
        found = [value for answer in group for item in answer.items for value in _named_by(kind, item)]
    return {value for value in found if type(value) is int}


def _named_by(kind: Kind, item: Any) -> list[Any]:
    if not isinstance(item, dict):
        return []
    modules = item.get("modules")
    rows = modules if kind is Kind.MODULE_HOST_RELATION and isinstance(modules, list) else [item]
    return [row.get(SCOPE_COLUMNS[kind]) for row in rows if isinstance(row, dict)]
