"""`bksi show`: what is stored of a service instance, or of all that a request created or healed."""

import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

RequestId = Annotated[str, Parameter(name="--request", help="Show what the request with this request_id left behind.")]


def show(
    service_instance_id: Annotated[int | None, Parameter(validator=Number(gte=1, lt=2**63))] = None,
    /,
    *,
    request_id: RequestId | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show a service instance with its processes and their bind rows, as they are stored.

    Args:
        service_instance_id: The id, as an envelope's data has it.
        request_id: Show what this request created or healed.
        json: Print plain JSON, in the shape of CMDB's list_service_instance_detail.
    """
    from worker.commands.stored_view import show_instance, show_request  # noqa: PLC0415 - see worker.cli

    if service_instance_id is not None and request_id is None:
        return show_instance(service_instance_id, json=json)
    if request_id is not None and service_instance_id is None:
        return show_request(request_id, json=json)
    sys.stderr.write("bksi show: give either a service instance's id or --request REQUEST_ID\n")
    return 2
