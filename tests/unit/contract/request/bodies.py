"""Bodies as callers send them, and what `parse` says to them."""

from typing import Any

import pytest

from contract.request.batch import Process, ProcessInfo
from contract.request.parse import BatchRefused, ParsedBatch, parse

PROCESS = "instances[0].processes[0]"
INFO = f"{PROCESS}.process_info"


def body(**instance: Any) -> dict[str, Any]:
    return {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2, **instance}]}


def body_with_process(**process: Any) -> dict[str, Any]:
    return body(processes=[process])


def body_with_info(**info: Any) -> dict[str, Any]:
    return body_with_process(process_info=info)


def body_with_row(**row: Any) -> dict[str, Any]:
    return body_with_info(bind_info=[row])


def refusals(sent: object, *, strict: bool = False) -> list[tuple[int, str]]:
    with pytest.raises(BatchRefused) as caught:
        parse(sent, strict=strict)
    return [(int(error.code), error.path) for error in caught.value.errors]


def warnings(parsed: ParsedBatch) -> list[tuple[str, str]]:
    return [(warning["path"], warning["reason"]) for warning in parsed.warnings]


def process(sent: object) -> Process:
    """The only process of the only instance."""
    (list_,) = parse(sent).batch.processes
    return list_[0]


def process_info(sent: object) -> ProcessInfo:
    return process(sent)["process_info"]
