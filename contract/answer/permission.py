"""What a caller lacks, in the shape of CMDB's IAM (CMDB 5.3): the envelope's ``permission``."""

from typing import Any


def iam_permission(bk_biz_id: int) -> dict[str, Any]:
    """What is missing to create service instances in a business, whose name is not known here: its id stands in."""
    system = {"system_id": "bk_cmdb", "system_name": "配置平台"}
    business = {"type": "biz", "type_name": "业务"}
    return {
        **system,
        "actions": [
            {
                "id": "create_biz_service_instance",
                "name": "服务实例新建",
                "related_resource_types": [
                    {**system, **business, "instances": [[{**business, "id": str(bk_biz_id), "name": str(bk_biz_id)}]]}
                ],
            }
        ],
    }
