"""Compare what CMDB says with what is stored: what is added, changed, removed, refused. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from contract.codes import Refused
from worker.catalogue.answers import Kind
from worker.catalogue.items import ADDRESSES, Incoming, Key, Refusal, Row, Rows
from worker.catalogue.scope import SCOPE_COLUMNS, Scope
from worker.expand.catalogue import ProcessTemplate
from worker.expand.templates import check_service_template, parse_process_template

DEFAULTS: Final[Mapping[Kind, Row]] = {
    Kind.SERVICE_TEMPLATE: {"bk_supplier_account": "0"},
    Kind.PROCESS_TEMPLATE: {"bk_supplier_account": "0"},
    Kind.MODULE: {"default": 0, "bk_set_id": 0, "bk_supplier_account": "0"},
    Kind.HOST: dict.fromkeys(ADDRESSES, "") | {"bk_cloud_id": 0, "bk_supplier_account": "0"},
    Kind.MODULE_HOST_RELATION: {"bk_set_id": 0},
}
"""What a new row holds where CMDB's answer did not say."""


@dataclass(slots=True)
class Changes:
    """What an import does. Rows are complete; `fields` names the columns of a changed row that differ."""

    added: Rows = field(default_factory=lambda: {kind: {} for kind in Kind})
    changed: Rows = field(default_factory=lambda: {kind: {} for kind in Kind})
    fields: dict[tuple[Kind, Key], tuple[str, ...]] = field(default_factory=dict)
    removed: dict[Kind, tuple[Key, ...]] = field(default_factory=lambda: dict.fromkeys(Kind, ()))
    unchanged: Counter[Kind] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the catalogue stays as it is."""
        return not any(self.added[kind] or self.changed[kind] or self.removed[kind] for kind in Kind)


def plan_changes(incoming: Incoming, stored: Rows, scope: Scope) -> Changes:
    """Compare `incoming` with `stored` and check what can only be checked beside other rows.

    Args:
        incoming: the rows read; rows refused here are taken out of it.
        stored: at least the rows with the incoming keys, those they refer to, and those in `scope`.
        scope: of what `incoming` is the whole listing (`worker.catalogue.scope`).
    """
    changes = Changes()
    removed = _removed(incoming, stored, scope, changes.notes)
    left = {kind: {key: row for key, row in stored[kind].items() if key not in removed[kind]} for kind in Kind}
    _check_modules(incoming, left)
    _check_relations(incoming, left)
    _check_process_templates(incoming, left)
    for kind in Kind:
        for key, row in incoming.rows[kind].items():
            _compare(changes, kind, key, row, stored[kind].get(key))
        changes.removed[kind] = tuple(sorted(removed[kind]))
    changes.refused = incoming.refused
    changes.notes += _gaps(incoming, stored)
    changes.notes += _dangling(incoming, left)
    return changes


def _compare(changes: Changes, kind: Kind, key: Key, row: Row, old: Row | None) -> None:
    if old is None:
        changes.added[kind][key] = {**DEFAULTS[kind], **row}
        return
    fields = tuple(sorted(column for column, value in row.items() if old[column] != value))
    if fields:
        changes.changed[kind][key] = {**old, **row}
        changes.fields[kind, key] = fields
    else:
        changes.unchanged[kind] += 1


def _removed(incoming: Incoming, stored: Rows, scope: Scope, notes: list[str]) -> dict[Kind, set[Key]]:
    removed: dict[Kind, set[Key]] = {kind: set() for kind in Kind}
    for kind, column in SCOPE_COLUMNS.items():
        if kind in incoming.unreadable:
            if scope[kind]:
                notes.append(
                    f"{kind}: with items whose id is unreadable none can be called missing; nothing is removed"
                )
            continue
        removed[kind] = {
            key
            for key, row in stored[kind].items()
            if row[column] in scope[kind] and key not in incoming.rows[kind] and (kind, key) not in incoming.kept
        }
    gone_templates = {key[0] for key in removed[Kind.SERVICE_TEMPLATE]}
    removed[Kind.PROCESS_TEMPLATE] |= {
        key
        for key, row in stored[Kind.PROCESS_TEMPLATE].items()
        if row["service_template_id"] in gone_templates and key not in incoming.rows[Kind.PROCESS_TEMPLATE]
    }
    removed[Kind.MODULE_HOST_RELATION] |= {
        key
        for key in stored[Kind.MODULE_HOST_RELATION]
        if key[:1] in removed[Kind.MODULE] and key not in incoming.rows[Kind.MODULE_HOST_RELATION]
    }
    return removed


def _known(kind: Kind, key: Key, incoming: Incoming, stored: Rows) -> Row | None:
    """The row as it will be: stored, with what is said now on top."""
    old, new = stored[kind].get(key), incoming.rows[kind].get(key)
    return None if old is None and new is None else {**(old or {}), **(new or {})}


def _check_modules(incoming: Incoming, stored: Rows) -> None:
    """A new module must say its template: read as "unbound" by mistake it would take any process."""
    for key, row in list(incoming.rows[Kind.MODULE].items()):
        if "service_template_id" not in row and key not in stored[Kind.MODULE]:
            reason = "field required: ask CMDB for the field service_template_id"
            incoming.refuse(Kind.MODULE, key, reason, inner="service_template_id")


def _check_relations(incoming: Incoming, stored: Rows) -> None:
    """A relation takes its business from its module and must not contradict it."""
    for key, row in list(incoming.rows[Kind.MODULE_HOST_RELATION].items()):
        module = _known(Kind.MODULE, key[:1], incoming, stored)
        biz = row.get("bk_biz_id") or (module or {}).get("bk_biz_id")
        if biz is None:
            reason = f"the business of module {key[0]} is not known: import the module, or say the business"
            incoming.refuse(Kind.MODULE_HOST_RELATION, key, reason)
        elif module is not None and module["bk_biz_id"] != biz:
            reason = f"module {key[0]} is of business {module['bk_biz_id']}, not {biz}"
            incoming.refuse(Kind.MODULE_HOST_RELATION, key, reason)
        else:
            incoming.rows[Kind.MODULE_HOST_RELATION][key] = {**row, "bk_biz_id": biz}


def _check_process_templates(incoming: Incoming, stored: Rows) -> None:
    """Business and uniqueness inside each service template (CMDB CP/process_template.go:55-155)."""
    kind = Kind.PROCESS_TEMPLATE
    siblings: dict[int, list[ProcessTemplate]] = defaultdict(list)
    for key, row in stored[kind].items():
        if key not in incoming.rows[kind]:
            siblings[row["service_template_id"]] += _parsed(key, row)
    for key in sorted(incoming.rows[kind]):
        row = incoming.rows[kind][key]
        service_template_id = row["service_template_id"]
        owner = _known(Kind.SERVICE_TEMPLATE, (service_template_id,), incoming, stored)
        if owner is not None and owner["bk_biz_id"] != row["bk_biz_id"]:
            reason = (
                f"service template {service_template_id} is of business {owner['bk_biz_id']}, not {row['bk_biz_id']}"
            )
            incoming.refuse(kind, key, reason, inner="bk_biz_id")
            continue
        try:
            template = parse_process_template(key[0], row["property"])
            check_service_template([*siblings[service_template_id], template])
        except Refused as refused:
            incoming.refuse(kind, key, refused.message(), inner=f"property.{refused.path}")
        else:
            siblings[service_template_id].append(template)


def _parsed(key: Key, row: Row) -> Iterator[ProcessTemplate]:
    """A stored template that today's rules refuse has no say in whether another one may come in."""
    try:
        yield parse_process_template(key[0], row["property"])
    except Refused:
        return


def _gaps(incoming: Incoming, stored: Rows) -> Iterator[str]:
    """A service template without one of its process templates makes instances without one of their processes."""
    gaps = [key[0] for kind, key in incoming.kept if kind is Kind.PROCESS_TEMPLATE and key not in stored[kind]]
    if gaps:
        yield f"until it is mended and imported, new service instances lack the process of template {_listed(gaps)}"


def _dangling(incoming: Incoming, stored: Rows) -> Iterator[str]:
    """Name references into nothing: pages may come in any order, so they are no reason to refuse."""

    def missing(kind: Kind, ids: Iterable[int]) -> list[int]:
        known = incoming.rows[kind].keys() | stored[kind].keys()
        return sorted({id_ for id_ in ids if id_ and (id_,) not in known})

    relations = incoming.rows[Kind.MODULE_HOST_RELATION]
    modules = [row.get("service_template_id", 0) for row in incoming.rows[Kind.MODULE].values()]
    templates = [row["service_template_id"] for row in incoming.rows[Kind.PROCESS_TEMPLATE].values()]
    for ids, what, who in (
        (missing(Kind.SERVICE_TEMPLATE, modules), "service templates", "modules"),
        (missing(Kind.SERVICE_TEMPLATE, templates), "service templates", "process templates"),
        (missing(Kind.MODULE, (key[0] for key in relations)), "modules", "host relations"),
        (missing(Kind.HOST, (key[1] for key in relations)), "hosts", "host relations"),
    ):
        if ids:
            yield f"{who} name {len(ids)} {what} that the catalogue does not have: {_listed(ids)}"


def _listed(ids: Iterable[int]) -> str:
    """The first few, ascending."""
    first = sorted(ids)[:6]
    return ", ".join(map(str, first[:5])) + (", …" if len(first) > 5 else "")
