"""What is tried again of a request that has ended: what failed, and what is here and CMDB has not taken."""

from dataclasses import replace

from contract.answer.report import Report
from contract.answer.status import DeliveryStatus, Status
from contract.request.batch import ServiceInstanceBatch


def is_retryable(report: Report) -> bool:
    """Whether it has ended, and left anything to be tried again."""
    return report.status.is_final and (report.status is not Status.SUCCESS or report.delivery is DeliveryStatus.FAILED)


def tried_again(batch: ServiceInstanceBatch, report: Report, *, whole: bool) -> ServiceInstanceBatch | None:
    """What is asked for; None: only clones are left, whose rows are here and would be cloned once more.

    Args:
        batch: what was asked for.
        report: how it ended, `is_retryable`.
        whole: ask for what is there as well, so that the new report tells of all instances. Of clones never.
    """
    # What is there is found again, and handed on to CMDB if it lacks it. A clone is not found.
    is_refused = report.delivery is DeliveryStatus.FAILED
    if batch.on_existing != "clone" and (whole or is_refused):
        return batch
    failed = [item["index"] for item in report.items if not item["outcome"].is_success]
    if failed:
        return replace(batch, instances=[batch.instances[index] for index in failed])
    return None if is_refused else batch
