"""Examples of every call, and of every refusal. Tests send the requests and hold the answers to their schemas."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from contract.answer.document import report_document
from contract.answer.job import JobStatus
from contract.answer.permission import iam_permission
from contract.answer.report import Report, envelope
from contract.answer.status import Outcome, process_item
from contract.codes import Code, Refused, Why

_Examples = dict[str, dict[str, Any]]

DOCUMENTED: Final[dict[str, Any]] = {
    "bk_app_code": "esb_test",
    "bk_app_secret": "xxx",
    "bk_username": "xxx",
    "bk_token": "xxx",
    "bk_biz_id": 1,
    "bk_module_id": 60,
    "instances": [
        {
            "bk_host_id": 2,
            "processes": [
                {
                    "process_template_id": 1,
                    "process_info": {
                        "bk_supplier_account": "0",
                        "bind_info": [
                            {
                                "enable": False,
                                "ip": "127.0.0.1",
                                "port": "80",
                                "protocol": "1",
                                "template_row_id": 1234,
                            }
                        ],
                        "description": "",
                        "start_cmd": "",
                        "restart_cmd": "",
                        "pid_file": "",
                        "auto_start": False,
                        "timeout": 30,
                        "auto_time_gap": 60,
                        "reload_cmd": "",
                        "bk_func_name": "java",
                        "work_path": "/data/bkee",
                        "stop_cmd": "",
                        "face_stop_cmd": "",
                        "port": "8008,8443",
                        "bk_process_name": "job_java",
                        "user": "",
                        "proc_num": 1,
                        "priority": 1,
                        "bk_biz_id": 2,
                        "bk_func_id": "",
                        "bk_process_id": 1,
                    },
                }
            ],
        }
    ],
}
"""CMDB's own example."""
_PROCESS: Final = {
    "bk_process_name": "docs-example",
    "bk_func_name": "nginx",
    "bind_info": [{"ip": "127.0.0.1", "port": "8443", "protocol": "1", "enable": True}],
}
_WITHOUT_TEMPLATE: Final = {
    "bk_biz_id": 1,
    "bk_module_id": 61,
    "instances": [{"bk_host_id": 1, "processes": [{"process_info": _PROCESS}]}],
}
_HOSTS: Final = [{"bk_host_id": 2}, {"bk_host_id": 3}]
_OPTIONS: Final = {
    "bk_biz_id": 1,
    "bk_module_id": 60,
    "on_existing": "reuse",
    "mode": "partial",
    "strict": True,
    "client_request_id": "order-4711",
    "instances": _HOSTS,
}
COMPAT_REQUESTS: Final[_Examples] = {
    "documented": {"summary": "CMDB's own example", "value": DOCUMENTED},
    "without_template": {"summary": "A module without a service template", "value": _WITHOUT_TEMPLATE},
}
REQUESTS: Final[_Examples] = {
    **COMPAT_REQUESTS,
    "options": {"summary": "Every option, processes as the template has them", "value": _OPTIONS},
}
JOB_REQUESTS: Final[_Examples] = {
    "hosts": {
        "summary": "Processes as the template has them",
        "value": {"bk_biz_id": 1, "bk_module_id": 60, "instances": _HOSTS},
    },
    "documented": COMPAT_REQUESTS["documented"],
}
JOB_LINES: Final[_Examples] = {
    "lines": {
        "summary": "The head, then an instance a line",
        "value": '{"bk_biz_id": 1, "bk_module_id": 60}\n{"bk_host_id": 2}\n{"bk_host_id": 3}\n',
    }
}

_ID: Final = "3f2b8c0d9e6a4715b2c4d6e8f0a1b2c3"
_JOB_ID: Final = "7a1d5e9c3b8f4206a4c6e8d0b2f1a3c5"
_ACCEPTED_AT: Final = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
_ENDED: Final[Any] = {
    "request_id": _ID,
    "bk_biz_id": 1,
    "bk_module_id": 60,
    "created_at": _ACCEPTED_AT,
    "finished_at": _ACCEPTED_AT + timedelta(seconds=1),
    "expires_at": _ACCEPTED_AT + timedelta(days=30),
    "attempts": 1,
}
_DONE: Final = Report.settled(
    [
        {
            "index": 0,
            "bk_host_id": 2,
            "outcome": Outcome.CREATED,
            "service_instance_id": 1001,
            "processes": [process_item(Outcome.CREATED, 1, "job_java", 5001)],
        }
    ],
    **_ENDED,
)
_PENDING: Final = Report.pending(1, request_id=_ID, bk_biz_id=1, bk_module_id=60, created_at=_ACCEPTED_AT)
_REFUSED: Final = Report.refused(
    {0: Refused(Code.HOST_NOT_IN_MODULE, [2], path="instances[0].bk_host_id")}, [2], **_ENDED
)
_CANCELLED: Final = Report.failed(Refused(Code.CANCELLED), [2], **_ENDED)


def _one(name: str, summary: str, value: Any) -> _Examples:
    return {name: {"summary": summary, "value": value}}


SUCCEEDED: Final = _one("success", "All rows exist", report_document(_DONE))
ACCEPTED: Final = _one("accepted", "Waits for a worker", report_document(_PENDING))
FAILED: Final = _one("failed", "A worker refused it", report_document(_REFUSED))
CANCELLED: Final = _one("cancelled", "No worker will start it", report_document(_CANCELLED))
COMPAT: Final[_Examples] = {
    **_one("success", "All rows exist", _DONE.envelope()),
    **_one("running", "Not ended yet", _PENDING.envelope()),
    **_one("failed", "Nothing was created", _REFUSED.envelope()),
}
_NAMES: Final = ("items", "warnings", "errors")
_LISTED: Final = {name: value for name, value in report_document(_DONE).items() if name not in _NAMES}
BATCHES: Final = {**_LISTED, "bk_biz_id": 1, "bk_module_id": 60}
ITEMS: Final[list[Any]] = report_document(_DONE)["items"]
JOB_BATCH: Final = {
    "request_id": _ID,
    "status": "SUCCESS",
    "code": 0,
    "statistics": _DONE.statistics.counters(),
}
_JOB_PATH: Final = f"/v1/jobs/{_JOB_ID}"
JOB: Final[dict[str, Any]] = {
    **envelope(Refused(Code.STILL_RUNNING), _JOB_ID),
    "job_id": _JOB_ID,
    "status": JobStatus.RUNNING.value,
    "bk_biz_id": 1,
    "bk_module_id": 60,
    "accepted_count": 2,
    "batch_count": 1,
    "statistics": {
        "total_count": 2,
        "success_count": 1,
        "failed_count": 0,
        "pending_count": 1,
        "running_count": 0,
    },
    "outcomes": {outcome.value: int(outcome is Outcome.CREATED) for outcome in Outcome},
    "created_at": "2026-11-26T08:00:00Z",
    "finished_at": None,
    "expires_at": None,
    "links": {"self": _JOB_PATH, "batches": f"{_JOB_PATH}/batches", "items": f"{_JOB_PATH}/items"},
}


def page(name: str, entry: Any) -> _Examples:
    """A page of one entry, the last one."""
    keys = envelope(Refused(Code.SUCCESS), _ID, result=True)
    return _one("page", "The last page", {**keys, name: [entry], "next_cursor": None})


_ARGUMENTS: Final[Mapping[Code, tuple[tuple[object, ...], str]]] = {
    Code.PARAM_INVALID: (("instances[0].bk_host_id", Why.NOT_POSITIVE), "instances[0].bk_host_id"),
    Code.PARAM_NOT_TEXT: (("instances[0].service_instance_name",), "instances[0].service_instance_name"),
    Code.PARAM_NOT_INT: (("bk_biz_id",), "bk_biz_id"),
    Code.PARAM_NOT_BOOL: (("strict",), "strict"),
    Code.PARAM_REQUIRED: (("bk_module_id",), "bk_module_id"),
    Code.TOO_MANY: (("create service instances", 100), "instances"),
    Code.TOO_LATE: (("RUNNING",), ""),
    Code.NOT_RETRYABLE: (("SUCCESS",), ""),
}


def refusal(code: Code) -> _Examples:
    """The answer of /v1 that says `code`."""
    args, path = _ARGUMENTS.get(code, ((), ""))
    refused = Refused(code, *args, path=path)
    keys = envelope(refused, _ID, permission=iam_permission(1) if code is Code.NO_PERMISSION else None)
    return _one(code.name.lower(), code.english.format("…", "…"), {**keys, "errors": [refused.document()]})
