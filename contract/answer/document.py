"""The v1 answer: a report, its items and its warnings as JSON shows them, in the reader's language."""

from typing import Any, Final

from contract.answer.report import Report
from contract.answer.status import Item, Status, Warning_, item_problem
from contract.codes import Code, Language, Reason

_NOTHING: Final = {"bk_process_id": None, "process_template_id": 0, "bk_process_name": None}


def report_document(report: Report, language: Language = "en") -> dict[str, Any]:
    """The v1 answer, ready for JSON: the six keys, then what v1 adds.

    While unfinished, code is 0 and ``result`` true, because the request was accepted, and `data` is null: v1
    callers read `status`. A PART_FAILED request carries CMDB's index maps beside `data`, which stays null as in
    every failure: ``success_created`` {index: service instance id} and ``error_msg`` {index: message}.
    """
    document: dict[str, Any] = {**report.envelope(language)}
    if not report.status.is_final:
        document |= {"result": True, "code": Code.SUCCESS.value}
    document |= {
        "status": report.status.value,
        "statistics": report.statistics.counters(),
        "items": [item_document(item, language, is_handed_on=report.delivery is not None) for item in report.items],
        "warnings": [warning_document(warning, language) for warning in report.warnings],
        "errors": [problem.document(language) for problem in report.errors],
        **report.model_dump(mode="json", include={"created_at", "finished_at", "expires_at", "attempts"}),
    }
    if report.job is not None:
        document["job_id"] = report.job.job_id
    if report.delivery is not None:
        document["delivery"] = report.delivery.value
        document["delivery_error"] = report.delivery_problem and report.delivery_problem.document(language)
    if report.preview is not None:
        document["preview"] = list(report.preview)
    if report.status is Status.PART_FAILED:
        created = [item for item in report.items if item["outcome"].is_success]
        others = [item for item in report.items if not item["outcome"].is_success]
        document["success_created"] = {str(item["index"]): item.get("service_instance_id") for item in created}
        document["error_msg"] = {str(item["index"]): item_problem(item).message(language) for item in others}
    return document


def item_document(item: Item, language: Language = "en", *, is_handed_on: bool = False) -> dict[str, Any]:
    """The item as v1 shows it; of a request that is handed on to CMDB, with CMDB's ids."""
    nothing = {**_NOTHING, "cmdb_id": None} if is_handed_on else _NOTHING
    return {
        "index": item["index"],
        "bk_host_id": item["bk_host_id"],
        "outcome": item["outcome"].value,
        "service_instance_id": item.get("service_instance_id"),
        **({"cmdb_id": item.get("cmdb_id")} if is_handed_on else {}),
        "processes": [
            {**nothing, **process, "outcome": process["outcome"].value} for process in item.get("processes", ())
        ],
        **item_problem(item).document(language),
        "warnings": [warning_document(warning, language) for warning in item.get("warnings", ())],
    }


def warning_document(warning: Warning_, language: Language = "en") -> dict[str, str]:
    """The warning as v1 shows it."""
    try:
        reason = Reason(warning["reason"])
    except ValueError:
        message = warning["reason"]
    else:
        message = reason.english if language == "en" else reason.chinese
    return {"path": warning["path"], "reason": warning["reason"], "message": message}
