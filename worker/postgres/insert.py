"""The one statement that writes: ledger, instances, processes, bind rows and audit, all or nothing.

Ids are known beforehand, so that the rows of all tables, and the report that names them, go to the server together: a
request that finds nothing in its way is one round trip and commits by itself. The statement writes nothing when it sees
that a request has ended already or that an instance exists; should another transaction get there first in the same
moment, a unique constraint refuses it as a whole. Either way the caller looks again.

Plans are kept for the life of a connection, which may begin while the tables are empty. Then a join looks best as a
full scan, and stays one when they are full: ``OFFSET 0`` keeps the look at natural keys one by one, in the index.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import orjson

from contract.answer.job import counts_of
from contract.answer.report import Report
from worker.postgres.columns import BIND_ROWS, INSTANCES, PROCESSES, NewRows, bigint_array, quoted, typed
from worker.postgres.draft import Draft

# Another transaction wrote the same request or the same instance first. Any other violation is nobody's race: rows
# under an existing instance are only added while it is locked.
_RACES: Final = frozenset({"pk_request_ledger", "pk_audit_log", "uq_service_instance_natural_key"})
_IDS: Final = frozenset({"pk_service_instance", "pk_process"})

JOB_COLUMNS: Final[Mapping[str, str]] = {
    "job_id": "text",
    "job_number": "integer",
    "job_is_last": "boolean",
    "outcomes": "integer[]",
}
"""Columns of ``request_ledger`` and their types. All are null for a request that is no part of a job."""
_REQUEST: Final = {
    "request_id": "text",
    "bk_app_code": "text",
    "bk_biz_id": "bigint",
    "bk_module_id": "bigint",
    "status": "text",
    "code": "integer",
    "attempt": "integer",
    "created_at": "timestamptz",
    "operator": "text",
    "bk_supplier_account": "text",
    "created_ids": "text",
    "healed_ids": "text",
    **JOB_COLUMNS,
}
"""What the statement's first parameter says of each request.

One parameter for each table follows, and the last has the reports: a JSON text inside another has to be quoted here,
and unquoted there.
"""


_OUTBOX: Final = """, outbox AS (
    INSERT INTO delivery (request_id, bk_biz_id, bk_module_id, instance_ids)
    SELECT request_id, bk_biz_id, bk_module_id, instance_ids::bigint[] FROM request
    WHERE (SELECT is_ours FROM fence) AND instance_ids <> '{}'
)"""


def _statement(*, outbox: bool) -> str:
    instances, processes, bind_rows = INSTANCES, PROCESSES, BIND_ROWS
    given = {**_REQUEST, "instance_ids": "text"} if outbox else _REQUEST
    return f"""
WITH request AS MATERIALIZED (
    SELECT * FROM ROWS FROM (
        json_to_recordset($1::text::json) AS ({typed(given)}), unnest($5::text[])
    ) AS given ({quoted((*given, "report"))})
), new_instance AS MATERIALIZED (
    {instances.source(2)}
), guard AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM request_ledger WHERE request_id IN (SELECT request_id FROM request)) AS is_decided,
           EXISTS (
               SELECT FROM new_instance AS new CROSS JOIN LATERAL (
                   SELECT FROM service_instance AS old
                   WHERE old.bk_module_id = new.bk_module_id
                       AND old.bk_host_id = new.bk_host_id
                       AND old.instance_key = new.instance_key
                   OFFSET 0
               ) AS one_by_one
           ) AS is_taken
), ledger AS (
    INSERT INTO request_ledger
        (request_id, bk_app_code, bk_biz_id, bk_module_id, status, code, report, attempt, created_at,
         {quoted((*JOB_COLUMNS,))})
    SELECT request_id, bk_app_code, bk_biz_id, bk_module_id, status, code, report, attempt, created_at,
           {quoted((*JOB_COLUMNS,))}
    FROM request
    WHERE (SELECT NOT is_decided AND NOT is_taken FROM guard)
    ORDER BY request_id
    RETURNING request_id
), fence AS MATERIALIZED (
    -- counting waits for every row of the ledger, which so comes before all others
    SELECT count(*) > 0 AS is_ours FROM ledger
), instance AS (
    INSERT INTO service_instance ({quoted((*instances.shared, *instances.own))}, modifier)
    SELECT *, creator FROM new_instance
    WHERE (SELECT is_ours FROM fence)
    ORDER BY bk_module_id, bk_host_id, instance_key
), process AS (
    INSERT INTO process ({quoted((*processes.shared, *processes.own))})
    {processes.source(3)}
    WHERE (SELECT is_ours FROM fence)
), bind_info AS (
    INSERT INTO process_bind_info ({quoted((*bind_rows.shared, *bind_rows.own))})
    {bind_rows.source(4)}
    WHERE (SELECT is_ours FROM fence)
), audit AS (
    INSERT INTO audit_log
        (request_id, operator, bk_app_code, bk_supplier_account, bk_biz_id, bk_module_id, action,
         created_ids, healed_ids)
    SELECT request_id, operator, bk_app_code, bk_supplier_account, bk_biz_id, bk_module_id, 'create',
           created_ids::bigint[], healed_ids::bigint[]
    FROM request
    WHERE (SELECT is_ours FROM fence) AND (created_ids, healed_ids) <> ('{{}}', '{{}}')
){_OUTBOX if outbox else ""}
SELECT is_decided OR is_taken AS is_late FROM guard
"""  # noqa: S608 - only our own column names


_STATEMENT: Final = _statement(outbox=False)
_WITH_OUTBOX: Final = _statement(outbox=True)
"""For requests whose rows are handed on to CMDB; where there is none, nothing of it is sent."""


class IdsTaken(Exception):
    """What was read from CMDB brought its own ids along, and they are among those that were reserved here."""


Ended = tuple[Draft, Report, bytes]
"""A draft, the report it ends with, and ``report.dump()``."""


def job_values(report: Report) -> tuple[Any, ...]:
    """The values of `JOB_COLUMNS` for a request that ends with `report`."""
    part = report.job
    return (None,) * 4 if part is None else (part.job_id, part.number, part.is_last, list(counts_of(report)))


def _row(draft: Draft, report: Report) -> dict[str, Any]:
    """The columns of `_REQUEST`."""
    request = draft.request
    values = (
        request.request_id,
        request.caller.bk_app_code,
        request.plan.bk_biz_id,
        request.plan.bk_module_id,
        report.status.value,
        report.code,
        request.attempt,
        report.created_at,
        request.caller.bk_username,
        request.caller.bk_supplier_account,
        bigint_array(draft.created_ids),
        bigint_array(sorted(draft.healed)),
        *job_values(report),
    )
    row = dict(zip(_REQUEST, values, strict=True))
    return row if report.delivery is None else _delivered(row, draft)


def _delivered(row: dict[str, Any], draft: Draft) -> dict[str, Any]:
    """The same with the service instances that CMDB is to have."""
    ids = {id_ for item in draft.items if (id_ := item.get("service_instance_id")) is not None}
    return row | {"instance_ids": bigint_array(sorted(ids))} if ids else row


async def insert(driver: Any, rows: NewRows, ended: Sequence[Ended]) -> bool:
    """Write drafts whose keys differ, each with its report; False when somebody else was first and nothing was written.

    The ledger's rows and the instances are inserted in sorted order, so that two workers never wait for each other.

    Raises:
        IdsTaken: nothing was written; other ids are needed.
    """
    requests = [_row(draft, report) for draft, report, _ in ended]
    statement = _STATEMENT
    if any("instance_ids" in one for one in requests):
        requests, statement = [{"instance_ids": "{}", **one} for one in requests], _WITH_OUTBOX
    given = orjson.dumps(requests).decode()
    try:
        (row,) = await driver.fetch(statement, given, *rows.arguments(), [dumped.decode() for _, _, dumped in ended])
    except asyncpg.UniqueViolationError as violation:
        if violation.constraint_name in _RACES:
            return False
        if violation.constraint_name in _IDS:
            raise IdsTaken from None
        raise
    return not row["is_late"]


async def rehearse(driver: Any) -> None:
    """Have PostgreSQL go through the statement with nothing to write: rights, tables and columns are looked at."""
    for statement in (_STATEMENT, _WITH_OUTBOX):
        await driver.fetch(statement, "[]", *NewRows().arguments(), [])
