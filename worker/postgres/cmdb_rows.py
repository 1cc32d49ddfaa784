"""Take over what CMDB has of service instances, a page at a time: each page is one transaction.

What a page touches is read and locked first, compared by `worker.expand.sync`, and written in sets. Workers go on
meanwhile: should one write the same instance, or under the same id, first, the page is compared again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from worker.expand.plan import PlannedBind
from worker.expand.sync import (
    CmdbInstance,
    CmdbProcess,
    ProcessSync,
    StoredInstance,
    StoredProcess,
    Sync,
    sync_instances,
    sync_processes,
)
from worker.postgres.engine import transaction
from worker.postgres.ids import ROOM, IdBlock, raise_ids
from worker.postgres.tables import PROCESS_PROPERTIES, process_ids, service_instance_ids

_TRIES: Final = 5
_PROPERTIES: Final = ", ".join(f'"{name}"' for name in PROCESS_PROPERTIES)
_INSTANCES: Final = """
WITH wanted AS (
    SELECT unnest($1::bigint[]) AS id
    UNION SELECT service_instance_id FROM cmdb_instance WHERE cmdb_id = ANY ($1::bigint[])
    UNION SELECT found.id FROM unnest($2::bigint[], $3::bigint[], $4::text[]) AS key (m, h, k) CROSS JOIN LATERAL (
        SELECT id FROM service_instance WHERE (bk_module_id, bk_host_id, instance_key) = (key.m, key.h, key.k) OFFSET 0
    ) AS found
)
SELECT s.id, s.bk_module_id, s.bk_host_id, s.instance_key, s.service_template_id, s.name, s.modifier,
       s.bk_supplier_account, s.labels::text AS labels, l.cmdb_id, l.gone_at IS NOT NULL AS is_gone
FROM wanted JOIN service_instance s USING (id) LEFT JOIN cmdb_instance l ON l.service_instance_id = s.id
ORDER BY s.id FOR UPDATE OF s
"""
_PROCESSES: Final = f"""
SELECT bk_process_id, service_instance_id, process_template_id, l.cmdb_id, l.row_ids,
       coalesce(l.linked_at >= $2, false) AS is_newer, {_PROPERTIES}
FROM process LEFT JOIN cmdb_process l USING (bk_process_id)
WHERE service_instance_id = ANY ($1::bigint[]) ORDER BY bk_process_id
"""  # noqa: S608 - only our own column names
_BIND_ROWS: Final = """
SELECT bk_process_id, template_row_id, ip, port, protocol, enable FROM process_bind_info
WHERE bk_process_id = ANY ($1::bigint[]) ORDER BY bk_process_id, position, template_row_id
"""
_OPEN_CALLS: Final = """
SELECT s.bk_module_id, s.bk_host_id, c.after_id
FROM delivery_call c JOIN service_instance s ON s.id = ANY (c.instance_ids)
WHERE c.called_at IS NOT NULL AND c.bk_module_id IS DISTINCT FROM $1
"""
_TAKEN: Final = "SELECT bk_process_id FROM process WHERE bk_process_id = ANY ($1::bigint[])"
_SETTABLE: Final = ", ".join(f'"{name}" = new."{name}"' for name in PROCESS_PROPERTIES)
_ADD_INSTANCES: Final = """
INSERT INTO service_instance (id, bk_biz_id, bk_module_id, bk_host_id, instance_key, service_template_id, name, labels,
    creator, modifier, bk_supplier_account, request_id, create_time, last_time)
SELECT id, bk_biz_id, bk_module_id, bk_host_id, instance_key, service_template_id, name, labels,
    creator, modifier, bk_supplier_account, '', coalesce(create_time, now()), coalesce(last_time, now())
FROM json_populate_recordset(NULL::service_instance, $1::text::json)
"""
_CHANGE_INSTANCES: Final = """
UPDATE service_instance AS s SET bk_module_id = new.bk_module_id, bk_host_id = new.bk_host_id,
    instance_key = new.instance_key, service_template_id = new.service_template_id, name = new.name,
    labels = new.labels, modifier = new.modifier, bk_supplier_account = new.bk_supplier_account,
    last_time = coalesce(new.last_time, now())
FROM json_populate_recordset(NULL::service_instance, $1::text::json) AS new WHERE s.id = new.id
"""
_RELEASE: Final = """
WITH former AS (UPDATE cmdb_instance SET cmdb_id = NULL WHERE service_instance_id = ANY ($1::bigint[]))
DELETE FROM cmdb_process USING process
WHERE process.bk_process_id = cmdb_process.bk_process_id AND process.service_instance_id = ANY ($1::bigint[])
"""
_LINK_INSTANCES: Final = """
INSERT INTO cmdb_instance (service_instance_id, cmdb_id) SELECT * FROM unnest($1::bigint[], $2::bigint[])
ON CONFLICT (service_instance_id) DO UPDATE SET gone_at = NULL, linked_at = now()
"""
_ADD_PROCESSES: Final = f"""
INSERT INTO process (bk_process_id, service_instance_id, bk_biz_id, bk_host_id, process_template_id,
    bk_supplier_account, bk_created_by, {_PROPERTIES})
SELECT bk_process_id, service_instance_id, bk_biz_id, bk_host_id, process_template_id,
    bk_supplier_account, bk_created_by, {_PROPERTIES}
FROM json_populate_recordset(NULL::process, $1::text::json)
"""  # noqa: S608 - as above
_CHANGE_PROCESSES: Final = f"""
UPDATE process AS p SET process_template_id = new.process_template_id, last_time = now(), {_SETTABLE}
FROM json_populate_recordset(NULL::process, $1::text::json) AS new WHERE p.bk_process_id = new.bk_process_id
"""  # noqa: S608 - as above
_LINK_PROCESSES: Final = """
INSERT INTO cmdb_process (bk_process_id, cmdb_id, row_ids, linked_at)
SELECT bk_process_id, cmdb_id, row_ids::bigint[], clock_timestamp() FROM unnest($1::bigint[], $2::bigint[], $3::text[])
    AS new (bk_process_id, cmdb_id, row_ids)
ON CONFLICT (bk_process_id) DO UPDATE
SET cmdb_id = excluded.cmdb_id, row_ids = excluded.row_ids, linked_at = clock_timestamp()
"""
_ROWS: Final = """
INSERT INTO process_bind_info (bk_host_id, bk_process_id, template_row_id, ip, port, protocol, enable, position)
SELECT bk_host_id, bk_process_id, template_row_id, ip, port, protocol, enable, position
FROM json_populate_recordset(NULL::process_bind_info, $1::text::json)
ON CONFLICT (bk_process_id, template_row_id, bk_host_id) DO UPDATE SET ip = excluded.ip, port = excluded.port,
    protocol = excluded.protocol, enable = excluded.enable, position = excluded.position
"""
_KEEP_GONE: Final = """
INSERT INTO cmdb_gone (service_instance_id, bk_process_id, content)
SELECT p.service_instance_id, p.bk_process_id,
       CASE WHEN one.row_id IS NULL THEN to_jsonb(p) || jsonb_build_object('bind_info', (
           SELECT coalesce(jsonb_agg(to_jsonb(b) ORDER BY position, template_row_id), '[]')
           FROM process_bind_info b WHERE b.bk_process_id = p.bk_process_id
       )) ELSE (
           SELECT to_jsonb(b) FROM process_bind_info b
           WHERE b.bk_process_id = p.bk_process_id AND b.template_row_id = one.row_id LIMIT 1
       ) END
FROM unnest($1::bigint[], $2::bigint[]) AS one (bk_process_id, row_id) JOIN process p USING (bk_process_id)
"""
_DROP_ROWS: Final = """
DELETE FROM process_bind_info AS b USING unnest($1::bigint[], $2::bigint[]) AS one (bk_process_id, row_id)
WHERE b.bk_process_id = one.bk_process_id AND (b.template_row_id = one.row_id OR one.row_id IS NULL)
"""
_DROP_LINKS: Final = "DELETE FROM cmdb_process WHERE bk_process_id = ANY ($1::bigint[])"
_DROP_PROCESSES: Final = "DELETE FROM process WHERE bk_process_id = ANY ($1::bigint[])"


class InstanceRows:
    """Takes pages over; one per command.

    Args:
        first_id: ids of ours begin at it, and above all that was taken over.
        delivering: the module whose instances the caller hands on to CMDB.
    """

    def __init__(self, *, first_id: int = 1, delivering: int | None = None) -> None:
        self._delivering = delivering
        self._first_id = first_id
        self._highest = 0
        self._instance_ids = IdBlock(service_instance_ids)
        self._process_ids = IdBlock(process_ids)

    async def sync(self, driver: Any, listed: Sequence[CmdbInstance], read_at: datetime | None = None) -> list[Sync]:
        """Bring what is stored to what CMDB lists; what it does not list stays. Returns what was changed.

        Instances that cannot be stored beside each other at once are taken one by one. `read_at` is when CMDB was
        asked: what came to it from here since is left alone.

        Raises:
            DatabaseError: the database was away.
        """
        await self._stay_above(driver, listed)
        for _ in range(_TRIES):
            try:
                async with transaction(driver):
                    return [await self._sync(driver, listed, read_at)]
            except asyncpg.UniqueViolationError:
                self._instance_ids.drop()
                self._process_ids.drop()
                if len(listed) == 1:
                    continue
        if len(listed) == 1:
            return [Sync(refused=[(listed[0].id, "cannot be stored beside what is there")])]
        return [sync for instance in listed for sync in await self.sync(driver, [instance], read_at)]

    async def _stay_above(self, driver: Any, listed: Sequence[CmdbInstance]) -> None:
        highest = max((max([one.id, *(process.id for process in one.processes or ())]) for one in listed), default=0)
        if highest <= self._highest:
            return
        last = await driver.fetchval(
            "SELECT least(i.last_value, p.last_value) FROM service_instance_id_block i, bk_process_id_block p"
        )
        if self._first_id > highest:
            first_id = least = self._first_id
        else:
            first_id, least = highest + ROOM, highest + ROOM // 2
        if last < least:
            await raise_ids(driver, first_id)
            self._instance_ids.drop()
            self._process_ids.drop()
        self._highest = highest

    async def _sync(self, driver: Any, listed: Sequence[CmdbInstance], read_at: datetime | None) -> Sync:
        listed = await self._without_ours(driver, listed)
        keys = list(zip(*[one.key for one in listed], strict=True)) or [(), (), ()]
        rows = await driver.fetch(_INSTANCES, [one.id for one in listed], *keys)
        spare = await self._instance_ids.take(driver, len(listed))
        instance_ids = iter(spare)
        sync, ids = sync_instances(listed, map(_instance, rows), instance_ids)
        self._instance_ids.give_back(instance_ids)
        stored = await stored_processes(driver, ids.values(), read_at)
        process_ids = [process.id for one in listed for process in one.processes or ()]
        taken = {id_ for (id_,) in await driver.fetch(_TAKEN, process_ids)}
        new_ids = iter(await self._process_ids.take(driver, len(process_ids)))
        sync.processes = sync_processes(listed, ids, stored, taken, new_ids)
        self._process_ids.give_back(new_ids)
        await _write_instances(driver, sync)
        await _write_processes(driver, sync.processes, {ids[one.id]: one for one in listed})
        return sync

    async def _without_ours(self, driver: Any, listed: Sequence[CmdbInstance]) -> Sequence[CmdbInstance]:
        """Leave out what may come of a call of ours whose end is not known: who made it knows which of ours it is.

        Read before anything else: what such a call has brought is linked in the step that ends it.
        """
        after = {tuple(row[:2]): row[2] for row in await driver.fetch(_OPEN_CALLS, self._delivering)}
        return [one for one in listed if one.id <= after.get(one.key[:2], one.id)] if after else listed


def _instance(row: Any) -> StoredInstance:
    labels = None if row["labels"] is None else orjson.loads(row["labels"])
    content = (row["service_template_id"], row["name"], row["modifier"], row["bk_supplier_account"], labels)
    return StoredInstance(row["id"], tuple(row[1:4]), content, row["cmdb_id"], row["is_gone"])


async def stored_processes(driver: Any, ids: Iterable[int], read_at: datetime | None = None) -> Iterator[StoredProcess]:
    """The processes under instances, by their ids here, each with what CMDB is known to have of it."""
    rows = await driver.fetch(_PROCESSES, list(ids), read_at)
    binds: dict[int, list[PlannedBind]] = defaultdict(list)
    for row in await driver.fetch(_BIND_ROWS, [row["bk_process_id"] for row in rows]):
        binds[row[0]].append(PlannedBind(*row[1:6]))
    return (
        StoredProcess(
            row["bk_process_id"],
            row["service_instance_id"],
            row["process_template_id"],
            dict(zip(PROCESS_PROPERTIES, row[6:], strict=True)),
            tuple(binds[row["bk_process_id"]]),
            row["cmdb_id"],
            tuple(row["row_ids"] or ()),
            row["is_newer"],
        )
        for row in rows
    )


async def _write_instances(driver: Any, sync: Sync) -> None:
    for statement, found in ((_CHANGE_INSTANCES, sync.changed), (_ADD_INSTANCES, sync.added)):
        if found:
            await driver.execute(statement, _json(_instance_row(*one) for one in found))
    if former := [before for id_, _, before in sync.returned if id_ != before]:
        await driver.execute(_RELEASE, former)
    if sync.linked:
        await driver.execute(_LINK_INSTANCES, *zip(*sync.linked, strict=True))


async def _write_processes(driver: Any, sync: ProcessSync, of: Mapping[int, CmdbInstance]) -> None:
    gone: list[tuple[int, int | None]] = [(one.bk_process_id, None) for one in sync.gone]
    gone += [(id_, row.template_row_id) for id_, row in sync.gone_rows]
    if gone:
        ids = [one.bk_process_id for one in sync.gone]
        await driver.execute(_KEEP_GONE, *zip(*gone, strict=True))
        await driver.execute(_DROP_ROWS, *zip(*gone, strict=True))
        await driver.execute(_DROP_LINKS, ids)
        await driver.execute(_DROP_PROCESSES, ids)
    if sync.changed:
        await driver.execute(_CHANGE_PROCESSES, _json(_process_row(*one) for one in sync.changed))
    if sync.added:
        rows = (_process_row(id_, one) | _under(under, of[under]) for id_, under, one in sync.added)
        await driver.execute(_ADD_PROCESSES, _json(rows))
    if sync.rows:
        rows = (
            {"bk_process_id": id_, "bk_host_id": host, "position": place, **row._asdict()}
            for id_, host, row, place in sync.rows
        )
        await driver.execute(_ROWS, _json(rows))
    if sync.linked:
        links = [(id_, cmdb_id, "{" + ",".join(map(str, row_ids)) + "}") for id_, cmdb_id, row_ids in sync.linked]
        await driver.execute(_LINK_PROCESSES, *zip(*links, strict=True))


def _instance_row(id_: int, instance_key: str, one: CmdbInstance) -> dict[str, Any]:
    names = ("bk_biz_id", "bk_module_id", "bk_host_id", "service_template_id", "name", "labels", "creator", "modifier",
             "bk_supplier_account", "create_time", "last_time")  # fmt: skip
    return {"id": id_, "instance_key": instance_key, **{name: getattr(one, name) for name in names}}


def _process_row(id_: int, one: CmdbProcess) -> dict[str, Any]:
    return {"bk_process_id": id_, "process_template_id": one.process_template_id, **one.values}


def _under(service_instance_id: int, instance: CmdbInstance) -> dict[str, Any]:
    return {
        "service_instance_id": service_instance_id,
        "bk_biz_id": instance.bk_biz_id,
        "bk_host_id": instance.bk_host_id,
        "bk_supplier_account": instance.bk_supplier_account,
        "bk_created_by": instance.creator,
    }


def _json(rows: Iterable[Mapping[str, Any]]) -> str:
    return orjson.dumps(list(rows)).decode()
