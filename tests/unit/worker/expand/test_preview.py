"""The rows of a dry run."""

import json

from contract.request.batch import PROCESS_PROPERTIES
from tests.unit.worker.expand.builders import bind, bound, instance, plan, template


def test_preview_shows_the_rows_in_plain_json():
    shown = plan(bound(template(1, bind(1))), instance(2), instance(1)).preview()
    assert json.loads(json.dumps(shown)) == shown
    assert [row["bk_host_id"] for row in shown] == [2, 1]
    (process,) = shown[0].pop("processes")
    assert shown[0] == {
        "index": 0,
        "bk_biz_id": 1,
        "bk_module_id": 60,
        "bk_host_id": 2,
        "service_template_id": 7,
        "name": "10.0.0.2_process1_80",
    }
    assert set(process) == {"process_template_id", "bind_info", *PROCESS_PROPERTIES}
    assert process["bind_info"] == [
        {"template_row_id": 1, "ip": "127.0.0.1", "port": "80", "protocol": "1", "enable": True}
    ]
