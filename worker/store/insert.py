"""The one statement that writes: ledger, instances, processes, bind rows and audit, all or nothing.

Ids are known beforehand, so that the rows of all tables, and the report that names them, go to the server together: a
request that finds nothing in its way is one round trip and commits by itself. The statement writes nothing when it sees
that a request has ended already or that an instance exists; should another transaction get there first in the same
moment, a unique constraint refuses it as a whole. Either way the caller looks again.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from contract.envelope import Report
from worker.store import tables
from worker.store.draft import Draft, Row

# In the order in which `worker.store.draft` makes rows; times are the database's own.
_INSTANCE: Final = (
    *("id", "bk_biz_id", "bk_module_id", "bk_host_id", "instance_key", "service_template_id", "name"),
    *("creator", "bk_supplier_account", "request_id"),
)
_PROCESS: Final = (
    *("bk_process_id", "service_instance_id", "bk_biz_id", "bk_host_id", "process_template_id"),
    *tables.PROCESS_PROPERTIES,
    *("bk_created_by", "bk_supplier_account"),
)
_BIND: Final = ("bk_host_id", "bk_process_id", "template_row_id", "ip", "port", "protocol", "enable")
_LEDGER: Final = (
    *("request_id", "bk_app_code", "bk_biz_id", "bk_module_id", "status", "code", "report", "attempt", "created_at"),
)

# Another transaction wrote the same request or the same instance first. Any other violation is nobody's race: rows
# under an existing instance are only added while it is locked.
_RACES: Final = frozenset({"pk_request_ledger", "pk_audit_log", "uq_service_instance_natural_key"})


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _arrays(table: Table, names: Sequence[str], first: int) -> str:
    """``unnest($1::bigint[], …) AS t ("id", …)`` with the columns' own types."""
    types = (table.c[name].type.compile(postgresql.dialect()) for name in names)  # type: ignore[no-untyped-call]
    arrays = ", ".join(f"${number}::{type_}[]" for number, type_ in enumerate(types, first))
    return f"unnest({arrays}) AS {table.name}_rows ({_quoted(names)})"


def _statement() -> str:
    ledger, instance = 1, 1 + len(_LEDGER)
    process = instance + len(_INSTANCE)
    bind = process + len(_PROCESS)
    audit = bind + len(_BIND)
    module, host, key = (instance + _INSTANCE.index(name) for name in ("bk_module_id", "bk_host_id", "instance_key"))
    return f"""
WITH guard AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM request_ledger WHERE request_id = ANY ($1::text[])) AS is_decided,
           EXISTS (
               SELECT FROM unnest(${module}::bigint[], ${host}::bigint[], ${key}::text[])
                   AS wanted (bk_module_id, bk_host_id, instance_key)
               JOIN service_instance USING (bk_module_id, bk_host_id, instance_key)
           ) AS is_taken
), ledger AS (
    INSERT INTO request_ledger ({_quoted(_LEDGER)})
    SELECT * FROM {_arrays(tables.request_ledger, _LEDGER, ledger)}
    WHERE (SELECT NOT is_decided AND NOT is_taken FROM guard)
    RETURNING request_id
), fence AS MATERIALIZED (
    -- counting waits for every row of the ledger, which so comes before all others
    SELECT count(*) > 0 AS is_ours FROM ledger
), instance AS (
    INSERT INTO service_instance ({_quoted(_INSTANCE)}, modifier)
    SELECT *, creator FROM {_arrays(tables.service_instance, _INSTANCE, instance)}
    WHERE (SELECT is_ours FROM fence)
), process AS (
    INSERT INTO process ({_quoted(_PROCESS)})
    SELECT * FROM {_arrays(tables.process, _PROCESS, process)}
    WHERE (SELECT is_ours FROM fence)
), bind_info AS (
    INSERT INTO process_bind_info ({_quoted(_BIND)})
    SELECT * FROM {_arrays(tables.process_bind_info, _BIND, bind)}
    WHERE (SELECT is_ours FROM fence)
), audit AS (
    INSERT INTO audit_log (request_id, operator, bk_app_code, bk_supplier_account, bk_biz_id, bk_module_id, action,
                           created_ids, healed_ids)
    SELECT request_id, operator, bk_app_code, bk_supplier_account, bk_biz_id, bk_module_id, 'create',
           created_ids::bigint[], healed_ids::bigint[]
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[],
                ${audit}::text[], ${audit + 1}::text[], ${audit + 2}::text[], ${audit + 3}::text[])
        AS wrote (request_id, bk_app_code, bk_biz_id, bk_module_id,
                  operator, bk_supplier_account, created_ids, healed_ids)
    WHERE (SELECT is_ours FROM fence) AND (created_ids, healed_ids) <> ('{{}}', '{{}}')
)
SELECT is_decided OR is_taken AS is_late FROM guard
"""  # noqa: S608 - only our own column names


_STATEMENT: Final = _statement()


async def insert(driver: Any, drafts: Sequence[Draft], reports: Sequence[Report]) -> bool:
    """Write drafts whose keys differ, each with its report; False when somebody else was first and nothing was written.

    Rows go in sorted order, so that two workers never wait for each other.
    """
    ordered = sorted(zip(drafts, reports, strict=True), key=lambda pair: pair[0].request.request_id)
    instances = sorted((row for draft in drafts for row in draft.instances), key=_natural_key)
    arguments = (
        *_columns([_ledger_row(draft, report) for draft, report in ordered], len(_LEDGER)),
        *_columns(instances, len(_INSTANCE)),
        *_columns([row for draft in drafts for row in draft.processes], len(_PROCESS)),
        *_columns([row for draft in drafts for row in draft.bind_rows], len(_BIND)),
        *_columns([_audit_row(draft) for draft, _ in ordered], 4),
    )
    try:
        (row,) = await driver.fetch(_STATEMENT, *arguments)
    except asyncpg.UniqueViolationError as violation:
        if violation.constraint_name in _RACES:
            return False
        raise
    return not row["is_late"]


def _columns(rows: Sequence[Row], width: int) -> Iterable[Sequence[Any]]:
    return zip(*rows, strict=True) if rows else ((),) * width


def _natural_key(row: Row) -> Row:
    return row[2:5]


def _ledger_row(draft: Draft, report: Report) -> Row:
    request = draft.request
    return (
        request.request_id,
        request.caller.bk_app_code,
        request.plan.bk_biz_id,
        request.plan.bk_module_id,
        report.status.value,
        report.code,
        report.dump().decode(),
        request.attempt,
        report.created_at,
    )


def _audit_row(draft: Draft) -> Row:
    caller = draft.request.caller
    return (caller.bk_username, caller.bk_supplier_account, _literal(draft.created_ids), _literal(sorted(draft.healed)))


def _literal(ids: Iterable[int]) -> str:
    """An array as PostgreSQL writes it: lists of different lengths cannot be unnested, texts can."""
    return f"{{{','.join(map(str, ids))}}}"
