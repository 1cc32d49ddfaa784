"""Bring the catalogue in PostgreSQL to what a set of CMDB's answers says: one transaction, all of it or nothing.

Existing service instances and processes are not touched: as in CMDB, a changed template matters to what is created
from then on.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from worker.catalogue.answers import Answer, Kind
from worker.catalogue.changes import Changes, plan_changes
from worker.catalogue.consent import NotRemoved
from worker.catalogue.items import Incoming, Key, Refusal, Rows, read_items
from worker.catalogue.report import ImportReport
from worker.catalogue.scope import Scope, whole_listings
from worker.postgres.catalogue_writes import delete_rows, lock_version, read_rows, upsert_rows
from worker.postgres.engine import Connection, Engine

NOTHING: Final[Scope] = {kind: frozenset() for kind in Kind}


async def import_answers(
    engine: Engine,
    answers: Sequence[Answer],
    *,
    bk_biz_id: int | None = None,
    prune: bool = False,
    dry_run: bool = False,
    unreadable: Iterable[Refusal] = (),
    at_most: Mapping[Kind, Collection[Key]] | None = None,
) -> ImportReport:
    """Import `answers`; imports that run at the same time wait for each other.

    The same answers again change nothing and leave the catalogue's version alone. An item that is refused is reported
    and what is stored under its id stays; the rest is imported.

    Args:
        engine: of a migrated database.
        answers: documents read by `worker.catalogue.answers.read_answer`, in any order; the later says more.
        bk_biz_id: the business of items that do not say theirs.
        prune: remove what the whole listings among `answers` lack (`worker.catalogue.scope`).
        dry_run: find out what would change, write nothing.
        unreadable: documents that could not be read, to be reported with the rest.
        at_most: what may be removed; None: whatever `prune` finds.

    Raises:
        NotRemoved: more would be removed than `at_most`. Nothing is written then.
    """
    incoming = read_items(answers, bk_biz_id)
    scope, notes = whole_listings(answers, bk_biz_id) if prune else (NOTHING, ())
    if unreadable := tuple(unreadable):
        incoming.refused[:0] = unreadable
        if prune:
            scope, notes = NOTHING, ("some documents could not be read; nothing is removed",)
    async with engine.begin() as connection:
        version = await lock_version(connection)
        stored = await _stored(connection, incoming, scope)
        changes = plan_changes(incoming, stored, scope)
        changes.notes[:0] = notes
        if at_most is not None and any(set(changes.removed[kind]) - set(at_most[kind]) for kind in Kind):
            raise NotRemoved("nothing was imported: the catalogue has changed meanwhile, look again")
        if not (dry_run or changes.is_empty):
            await _write(connection, changes)
            version = await lock_version(connection)  # which the changes have raised
    return ImportReport(changes, version, dry_run)


async def _write(connection: Connection, changes: Changes) -> None:
    for kind in Kind:
        await delete_rows(connection, kind, changes.removed[kind])
        await upsert_rows(connection, kind, [*changes.added[kind].values(), *changes.changed[kind].values()])


async def _stored(connection: Connection, incoming: Incoming, scope: Scope) -> Rows:
    """The stored rows that `plan_changes` compares with: same key, referred to, or in scope."""
    rows = incoming.rows
    templates = _column(incoming, Kind.PROCESS_TEMPLATE, "service_template_id")
    bound_to = _column(incoming, Kind.MODULE, "service_template_id")
    related = rows[Kind.MODULE_HOST_RELATION]
    businesses = scope[Kind.SERVICE_TEMPLATE]
    wanted: dict[Kind, dict[str, Collection[int]]] = {
        Kind.SERVICE_TEMPLATE: {
            "id": _ids(rows, Kind.SERVICE_TEMPLATE) | templates | bound_to,
            "bk_biz_id": businesses,
        },
        Kind.PROCESS_TEMPLATE: {
            "id": _ids(rows, Kind.PROCESS_TEMPLATE),
            "service_template_id": templates | scope[Kind.PROCESS_TEMPLATE],
            "bk_biz_id": businesses,
        },
        Kind.MODULE: {
            "bk_module_id": _ids(rows, Kind.MODULE) | {key[0] for key in related},
            "bk_biz_id": scope[Kind.MODULE],
        },
        Kind.HOST: {"bk_host_id": _ids(rows, Kind.HOST) | {key[1] for key in related}},
        Kind.MODULE_HOST_RELATION: {
            "bk_module_id": {key[0] for key in related} | scope[Kind.MODULE_HOST_RELATION],
            "bk_biz_id": scope[Kind.MODULE],
        },
    }
    return {kind: await read_rows(connection, kind, columns) for kind, columns in wanted.items()}


def _ids(rows: Rows, kind: Kind) -> set[int]:
    return {key[0] for key in rows[kind]}


def _column(incoming: Incoming, kind: Kind, column: str) -> set[int]:
    return {row[column] for row in incoming.rows[kind].values() if row.get(column)}
