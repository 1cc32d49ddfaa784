"""Read what is stored under natural keys, and lock it before something is added to it."""

from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import Any, Final, NamedTuple

from worker.expand.plan import PlannedBind
from worker.expand.reconcile import ExistingInstance, ExistingProcess
from worker.postgres.tables import PROCESS_PROPERTIES


class NaturalKey(NamedTuple):
    """The natural key of a service instance; sorted keys are the order in which every worker inserts."""

    bk_module_id: int
    bk_host_id: int
    instance_key: str


_PROPERTIES: Final = ", ".join(f'p."{name}"' for name in PROCESS_PROPERTIES)
# One statement, hence one snapshot: an instance is seen with all that a committed transaction put under it, or without.
# ``OFFSET 0`` keeps each look an index scan, whatever size the tables had when the connection planned it.
_READ: Final = f"""
SELECT s.id, s.bk_module_id, s.bk_host_id, s.instance_key, s.name, p.bk_process_id, p.process_template_id,
       b.rows, b.ips, b.ports, b.protocols, b.enables, {_PROPERTIES}
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS wanted (bk_module_id, bk_host_id, instance_key)
CROSS JOIN LATERAL (
    SELECT * FROM service_instance AS i
    WHERE i.bk_module_id = wanted.bk_module_id
        AND i.bk_host_id = wanted.bk_host_id
        AND i.instance_key = wanted.instance_key
    OFFSET 0
) AS s
LEFT JOIN LATERAL (SELECT * FROM process WHERE service_instance_id = s.id OFFSET 0) AS p ON true
LEFT JOIN LATERAL (
    SELECT array_agg(template_row_id) AS rows, array_agg(ip) AS ips, array_agg(port) AS ports,
           array_agg(protocol) AS protocols, array_agg(enable) AS enables
    FROM (
        SELECT * FROM process_bind_info
        WHERE bk_host_id = p.bk_host_id AND bk_process_id = p.bk_process_id
        ORDER BY position, template_row_id OFFSET 0
    ) AS ordered
) AS b ON true
ORDER BY s.id, p.bk_process_id
"""  # noqa: S608 - only our own column names
_LOCK: Final = "SELECT id FROM service_instance WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE"
_BINDS: Final = itemgetter("rows", "ips", "ports", "protocols", "enables")


async def read_existing(driver: Any, keys: Collection[NaturalKey]) -> dict[NaturalKey, ExistingInstance]:
    """Return the stored instances among `keys`, each with its processes and their bind rows, ids ascending."""
    if not keys:
        return {}
    heads: dict[NaturalKey, Any] = {}
    processes: dict[NaturalKey, list[ExistingProcess]] = {}
    for row in await driver.fetch(_READ, *zip(*keys, strict=True)):
        key = NaturalKey(*row[1:4])
        heads[key] = row
        under = processes.setdefault(key, [])
        if row["bk_process_id"] is not None:
            under.append(_process(row))
    return {key: ExistingInstance(row["id"], row["name"], tuple(processes[key])) for key, row in heads.items()}


async def lock_instances(driver: Any, ids: Iterable[int]) -> None:
    """Hold instances until the transaction ends, so that one worker at a time adds rows under them."""
    await driver.execute(_LOCK, sorted(ids))


async def rehearse(driver: Any) -> None:
    """Have PostgreSQL go through the statements of this module with nothing to read and nothing to lock."""
    await driver.fetch(_READ, [], [], [])
    await lock_instances(driver, [])


def _process(row: Any) -> ExistingProcess:
    binds = () if row["rows"] is None else tuple(map(PlannedBind, *_BINDS(row)))
    return ExistingProcess(
        row["bk_process_id"],
        row["process_template_id"],
        dict(zip(PROCESS_PROPERTIES, row[12:], strict=True)),
        binds,
    )
