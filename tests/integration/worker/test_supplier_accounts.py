"""Modules of another supplier account are not there (CMDB V4): "0" sees its own, others theirs and those of "0"."""

from pathlib import Path
from uuid import uuid4

import pytest

from chaos.nursery import Nursery
from tests.conftest import execute
from tests.integration.live import APP, LiveWorker, batch


@pytest.mark.rule("V4", 'a module of another supplier account, unless that is "0", is not there either: 1101034')
def test_module_of_another_account_is_not_found(
    redis_url: str, catalogue_database: str, nursery: Nursery, tmp_path: Path
) -> None:
    execute(catalogue_database, "UPDATE module SET bk_supplier_account = 'tenant1' WHERE bk_module_id = 60")
    settings = {"BKSI_REDIS_URL": redis_url, "BKSI_POSTGRES_DSN": catalogue_database, "BKSI_CATALOGUE_CHECK_MS": "0"}

    with LiveWorker(settings, tmp_path, nursery) as worker:

        def code(account: str) -> int:
            request_id = uuid4().hex
            caller = {"bk_app_code": APP, "bk_supplier_account": account}
            kwargs = {"request_id": request_id, "batch": batch(1), "caller": caller}
            report = worker.report(worker.send(1, request_id=request_id, kwargs=kwargs))
            return int(report["code"])

        assert [code(account) for account in ("0", "tenant2", "tenant1")] == [1101034, 1101034, 0]
        execute(catalogue_database, "UPDATE module SET bk_supplier_account = '0'")
        assert [code(account) for account in ("0", "tenant2")] == [0, 0]
