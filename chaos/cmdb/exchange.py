"""One call and its reply, in CMDB's words, and which path means which API."""

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Item = dict[str, Any]

_NATIVE: Final = "/api/v3"
_ESB: Final = "/api/c/compapi/v2/cc"
_PATHS: Final = {
    "POST /findmany/proc/service_template": "list_service_template",
    "POST /findmany/proc/proc_template": "list_proc_template",
    "POST /findmany/module/with_relation/biz/N": "find_module_with_relation",
    "POST /findmany/module/bk_biz_id/N": "find_module_batch",
    "POST /hosts/app/N/list_hosts": "list_biz_hosts",
    "POST /findmany/module_relation/bk_biz_id/N": "find_module_host_relation",
    "POST /hosts/modules/read": "find_host_biz_relations",
    "POST /event/watch/resource/host_relation": "resource_watch",
    "POST /event/watch/resource/module": "resource_watch",
    "POST /event/watch/resource/process": "resource_watch",
    "POST /findmany/proc/service_instance": "list_service_instance",
    "POST /findmany/proc/service_instance/details": "list_service_instance_detail",
    "POST /findmany/proc/process_instance": "list_process_instance",
    "POST /create/proc/service_instance": "create_service_instance",
    "POST /create/proc/process_instance": "create_process_instance",
    "PUT /update/proc/process_instance": "update_process_instance",
    "DELETE /delete/proc/process_instance": "delete_process_instance",
    "DELETE /deletemany/proc/service_instance": "delete_service_instance",
}
APIS: Final = frozenset(_PATHS.values())


@dataclass
class Call:
    """One request that came in: which API, with what body and headers."""

    api: str
    body: Item
    headers: Mapping[str, str]

    @property
    def start(self) -> int:
        """The first row of the page that is asked for."""
        return int(self.body.get("page", {}).get("start", 0))

    @property
    def place(self) -> tuple[str, str]:
        """The API and what was asked of it."""
        return self.api, json.dumps(self.body, sort_keys=True)


@dataclass
class Reply:
    """What goes back; a `body` that is no JSON value is sent as text. `hangs_up`: nothing goes back."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_up: bool = False


class Refused(Exception):
    """CMDB says no, with this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def api_of(method: str, path: str) -> str | None:
    """The name of the API behind a path, native or ESB's."""
    path = path.rstrip("/")
    if path.startswith(f"{_ESB}/"):
        api = path.removeprefix(f"{_ESB}/")
        return api if method == "POST" and api in APIS else None
    known = re.sub(r"/\d+(?=/|$)", "/N", path.removeprefix(_NATIVE))
    return _PATHS.get(f"{method} {known}") if path.startswith(_NATIVE) else None


def is_esb(path: str) -> bool:
    """Whether ESB would answer, which adds a request_id."""
    return path.startswith(_ESB)


def with_request_id(reply: Reply) -> Reply:
    """As ESB passes it on."""
    return Reply(reply.status, {**reply.body, "request_id": uuid.uuid4().hex}, reply.headers)


def success(data: Any) -> Reply:
    """``result`` true."""
    return Reply(body={"result": True, "code": 0, "message": "success", "permission": None, "data": data})


def refusal(code: int, message: str, status: int = 200, **headers: str) -> Reply:
    """``result`` false; CMDB says so with HTTP 200."""
    body = {"result": False, "code": code, "message": message, "permission": None, "data": None}
    return Reply(status, body, headers)


def listing(items: Sequence[Item], page: Item, name: str = "info") -> Reply:
    """A page of the items; limit 0 or none is all of them."""
    if sort := page.get("sort"):
        items = sorted(items, key=lambda item: item[sort.lstrip("-")], reverse=sort.startswith("-"))
    start = page.get("start", 0)
    shown = items[start : start + page["limit"]] if page.get("limit") else items[start:]
    return success({"count": len(items), name: shown})


def only(item: Item, names: Iterable[str]) -> Item:
    """The item with these of its fields."""
    return {name: item[name] for name in names if name in item}
