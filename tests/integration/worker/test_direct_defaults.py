"""What a direct message means that leaves ``on_existing`` and ``mode`` out: as its sender, else the deployment has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt

from chaos.nursery import Nursery
from tests.integration.live import LiveWorker

STRICT, PLAIN = "s" * 32, "p" * 32
SENDERS = f"""
[senders.strict]
keys = ["{STRICT}"]
bk_biz_ids = "*"
on_existing = "fail"
mode = "atomic"
[senders.plain]
keys = ["{PLAIN}"]
bk_biz_ids = "*"
"""
UNKNOWN_HOST = 404


def test_sender_then_deployment_then_this_interface(
    redis_url: str, catalogue_database: str, nursery: Nursery, tmp_path: Path
) -> None:
    (tmp_path / "senders.toml").write_text(SENDERS)
    settings = {
        "BKSI_REDIS_URL": redis_url,
        "BKSI_POSTGRES_DSN": catalogue_database,
        "BKSI_SENDERS_FILE": str(tmp_path / "senders.toml"),
        "BKSI_MODE": "partial",
    }

    with LiveWorker(settings, tmp_path, nursery) as worker:

        def ends(sender: str, key: str, *hosts: int, **said: str) -> tuple[str, list[str]]:
            """The status, and each instance's outcome."""
            request_id = uuid4().hex
            batch = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": host} for host in hosts], **said}
            claims: Mapping[str, Any] = {"request_id": request_id, "batch": batch}
            signed = jwt.encode(dict(claims), key, "HS256", headers={"kid": sender})
            worker.send(1, request_id=request_id, kwargs={"request_id": request_id, "signed": signed})
            report = worker.report(request_id)
            return report["status"], [item["outcome"] for item in report["items"]]

        assert ends("plain", PLAIN, 1, UNKNOWN_HOST) == ("PART_FAILED", ["created", "failed"])
        assert ends("plain", PLAIN, 1) == ("SUCCESS", ["existing"])
        assert ends("strict", STRICT, 1)[0] == "FAILED"
        assert ends("strict", STRICT, 2, UNKNOWN_HOST)[0] == "FAILED"
        assert ends("strict", STRICT, 1, on_existing="reuse") == ("SUCCESS", ["existing"])
