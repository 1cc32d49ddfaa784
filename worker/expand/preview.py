"""The expanded rows of a plan as plain JSON, for a dry run."""

from typing import Any

from worker.expand.plan import Plan, PlannedInstance


def preview(plan: Plan) -> list[dict[str, Any]]:
    """One object for each instance that could be written, in input order, in CMDB's names.

    `processes` are as they would be inserted, each with its properties and ``bind_info``; ids are missing, because
    nothing has been reserved.
    """
    return [_instance(plan, planned) for planned in plan.instances]


def _instance(plan: Plan, planned: PlannedInstance) -> dict[str, Any]:
    return {
        "index": planned.index,
        "bk_biz_id": plan.bk_biz_id,
        "bk_module_id": plan.bk_module_id,
        "bk_host_id": planned.bk_host_id,
        "service_template_id": plan.service_template_id,
        "name": planned.name,
        "processes": [
            {
                "process_template_id": process.process_template_id,
                **process.values,
                "bind_info": [row._asdict() for row in process.bind_info],
            }
            for process in planned.processes
        ],
    }
