"""The keys of a request, level by level, and those that are known not to belong to it."""

from typing import Final

from contract.codes import Reason
from contract.credentials import IDENTITY_KEYS
from contract.request.batch import BatchHead, BindRow, InstanceBody, Process, ProcessInfo

HEAD: Final = frozenset(BatchHead.__annotations__)
BODY: Final = HEAD | {"instances", "client_request_id"} | IDENTITY_KEYS
INSTANCE: Final = frozenset(InstanceBody.__annotations__)
INFO: Final = frozenset(ProcessInfo.__annotations__)
PROCESS: Final = frozenset(Process.__annotations__) | INFO
ROW: Final = frozenset(BindRow.__annotations__)

_SERVER_OWNED: Final = frozenset(
    {"bk_supplier_account", "bk_biz_id", "bk_process_id", "service_instance_id", "create_time", "last_time"}
    | {"bk_created_by", "bk_created_at", "bk_updated_by", "bk_updated_at"}
)
# CMDB had these on a process until 2020; its documented example still sends the first.
_REPLACED: Final = frozenset(
    {"port", "protocol", "bind_ip", "bk_enable_port"}
    | {"bk_gateway_ip", "bk_gateway_port", "bk_gateway_protocol", "bk_gateway_city"}
)


def why_ignored(key: str) -> Reason:
    """What is to be said of a key that no level has."""
    if key in _SERVER_OWNED:
        return Reason.SERVER_OWNED
    return Reason.REPLACED if key in _REPLACED else Reason.UNKNOWN_FIELD
