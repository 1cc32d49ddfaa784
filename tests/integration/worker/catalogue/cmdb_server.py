"""A small CMDB: the six listings that a pull asks for, with CMDB's limits, counts and refusals, on a free port."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.unit.worker.catalogue.cmdb_items import host, module, process_template, service_template

Item = dict[str, Any]

PATHS = {
    "/api/v3/findmany/proc/service_template": "list_service_template",
    "/api/v3/findmany/proc/proc_template": "list_proc_template",
    "/api/v3/findmany/module/with_relation/biz/1": "find_module_with_relation",
    "/api/v3/hosts/app/1/list_hosts": "list_biz_hosts",
    "/api/v3/findmany/module_relation/bk_biz_id/1": "find_module_host_relation",
    "/api/v3/findmany/module/bk_biz_id/1": "find_module_batch",
    "/api/v3/hosts/modules/read": "find_host_biz_relations",
    "/api/v3/event/watch/resource/host_relation": "resource_watch",
    "/api/v3/event/watch/resource/module": "resource_watch",
    "/api/v3/event/watch/resource/process": "resource_watch",
    "/api/v3/findmany/proc/service_instance/details": "list_service_instance_detail",
}
LIMITS = {
    "list_service_template": 500,
    "find_module_with_relation": 500,
    "list_biz_hosts": 500,
    "find_module_host_relation": 1000,
    "list_service_instance_detail": 1000,
}


@dataclass
class Call:
    """One request that came in: which API, with what body and headers."""

    api: str
    body: Item
    headers: Mapping[str, str]

    @property
    def start(self) -> int:
        return int(self.body.get("page", {}).get("start", 0))

    @property
    def place(self) -> tuple[str, str]:
        """The API and what was asked of it."""
        return self.api, json.dumps(self.body, sort_keys=True)


@dataclass
class Reply:
    """What goes back; a `body` that is no JSON value is sent as text."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(code: int, message: str, status: int = 200, **headers: str) -> Reply:
    body = {"result": False, "code": code, "message": message, "permission": None, "data": None}
    return Reply(status, body, headers)


class CmdbServer:
    """Business 1, as lists that a test may change, and every call that was made.

    `before` is asked first for each call; what it returns is sent instead of the answer.
    """

    def __init__(self) -> None:
        self.service_templates: list[Item] = []
        self.process_templates: list[Item] = []
        self.modules: list[Item] = []
        self.hosts: list[Item] = []
        self.hosts_of: dict[int, list[int]] = {}
        self.instances: list[Item] = []
        self.events: list[Item] = []
        self.calls: list[Call] = []
        self.before: Callable[[Call], Reply | None] = lambda call: None
        self.url = ""
        self._lock = threading.Lock()

    def fill(self, *, templates: int, modules: int, hosts: int, hosts_per_module: int) -> None:
        """Make a business of this size; the first module is the idle one, the others are bound in turn."""
        self.service_templates = [service_template(id_) for id_ in range(1, templates + 1)]
        self.process_templates = [process_template(id_, id_, "nginx") for id_ in range(1, templates + 1)]
        self.modules = [module(1, service_template_id=0, default=1)]
        self.modules += [module(id_, service_template_id=1 + id_ % templates) for id_ in range(2, modules + 1)]
        self.hosts = [host(id_, f"10.{id_ >> 16}.{id_ >> 8 & 255}.{id_ & 255}") for id_ in range(1, hosts + 1)]
        self.hosts_of = {
            id_: [1 + (id_ * 7 + number) % hosts for number in range(hosts_per_module)] for id_ in range(1, modules + 1)
        }

    def answer(self, call: Call) -> Reply:
        with self._lock:
            self.calls.append(call)
        if (reply := self.before(call)) is not None:
            return reply
        page = call.body.get("page", {})
        limit = LIMITS.get(call.api)
        if limit and not 0 < page.get("limit", 0) <= limit:
            return refusal(1199035, f"page.limit exceeds {limit}")
        return getattr(self, f"_{call.api}")(call.body, page)

    def _list_service_template(self, body: Item, page: Item) -> Reply:
        return _listing([item for item in self.service_templates if item["bk_biz_id"] == body["bk_biz_id"]], page)

    def _list_proc_template(self, body: Item, page: Item) -> Reply:
        wanted = body["service_template_id"]
        found = [item for item in self.process_templates if item["service_template_id"] == wanted]
        return _listing(found[::-1], page)  # newest first

    def _find_module_with_relation(self, body: Item, page: Item) -> Reply:
        if not body.get("fields"):
            return refusal(1199010, "fields must be set")
        return _listing([_only(item, body["fields"]) for item in self.modules], page)

    def _find_module_batch(self, body: Item, _page: Item) -> Reply:
        found = [_only(item, body["fields"]) for item in self.modules if item["bk_module_id"] in body["bk_ids"]]
        return _success(found)

    def _find_host_biz_relations(self, body: Item, _page: Item) -> Reply:
        pairs = [(module, host) for module, hosts in self.hosts_of.items() for host in hosts]
        return _success(
            [
                {"bk_biz_id": 1, "bk_host_id": host, "bk_module_id": module, "bk_set_id": 3}
                for module, host in pairs
                if host in body["bk_host_id"]
            ]
        )

    def _list_biz_hosts(self, body: Item, page: Item) -> Reply:
        for rule in body.get("host_property_filter", {}).get("rules", ()):
            found = [item for item in self.hosts if item[rule["field"]] in rule["value"]]
            return _listing([_only(item, body["fields"]) for item in found], page)
        return _listing([_only(item, body["fields"]) for item in self.hosts], page)

    def _find_module_host_relation(self, body: Item, page: Item) -> Reply:
        module_ids = body["bk_module_ids"]
        if not 0 < len(module_ids) <= 200:
            return refusal(1199035, "bk_module_ids exceeds the limit 200")
        modules_of: dict[int, list[Item]] = {}
        for module_id in module_ids:
            for host_id in self.hosts_of.get(module_id, []):
                modules_of.setdefault(host_id, []).append({"bk_module_id": module_id})
        found = [{"host": {"bk_host_id": host_id}, "modules": modules_of[host_id]} for host_id in sorted(modules_of)]
        return _listing(found, page, "relation")

    def _list_service_instance_detail(self, body: Item, page: Item) -> Reply:
        found = [one for one in self.instances if one["bk_biz_id"] == body["bk_biz_id"]]
        for name in ("bk_module_id", "bk_host_id"):
            found = [one for one in found if body.get(name, one[name]) == one[name]]
        return _listing(found, page)

    def _resource_watch(self, body: Item, _page: Item) -> Reply:
        """A cursor is the number of events so far; without one it is the present. Holds the call for a moment."""
        cursor = int(body.get("bk_cursor", len(self.events)))
        give_up_at = time.monotonic() + 0.3
        while not (new := self.events[cursor:]) and time.monotonic() < give_up_at:
            time.sleep(0.02)
        shown = [
            {"bk_cursor": str(cursor + number), "bk_resource": body["bk_resource"], "bk_detail": detail}
            for number, detail in enumerate(new, 1)
        ]
        nothing = [{"bk_cursor": str(cursor), "bk_resource": body["bk_resource"], "bk_detail": None}]
        return _success({"bk_watched": bool(new), "bk_events": shown or nothing})

    @contextmanager
    def serving(self) -> Iterator["CmdbServer"]:
        """Serve until the block ends."""
        httpd = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            httpd.shutdown()
            httpd.server_close()
            thread.join()


def _listing(items: list[Item], page: Item, name: str = "info") -> Reply:
    if sort := page.get("sort"):
        items = sorted(items, key=lambda item: item[sort])
    start = page.get("start", 0)
    shown = items[start : start + page["limit"]] if page.get("limit") else items
    return _success({"count": len(items), name: shown})


def _success(data: Any) -> Reply:
    return Reply(body={"result": True, "code": 0, "message": "success", "permission": None, "data": data})


def _only(item: Item, fields: list[str]) -> Item:
    return {name: item[name] for name in fields if name in item}


def _handler(server: CmdbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes, and the second would wait 40 ms

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.rstrip("/")
            api = PATHS.get(path) or path.rpartition("/")[2]
            known = path in PATHS or path.startswith("/api/c/compapi/v2/cc/")
            reply = server.answer(Call(api, body, dict(self.headers))) if known else Reply(404, "no such page")
            content = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            self.send_response(reply.status)
            self.send_header("Content-Type", "text/html" if isinstance(reply.body, str) else "application/json")
            self.send_header("Content-Length", str(len(content.encode())))
            for name, value in reply.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            # A client that is killed in the middle of an exchange is what some tests are about.
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

    return Handler
