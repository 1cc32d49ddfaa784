"""CMDB over HTTP, on a port of this machine."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from chaos.cmdb.changes import CHANGES
from chaos.cmdb.exchange import Call, Item, Refused, Reply, api_of, is_esb, refusal, success, with_request_id
from chaos.cmdb.failures import Failures
from chaos.cmdb.listings import read
from chaos.cmdb.strangers import meddle
from chaos.cmdb.world import World


class CmdbServer(World):
    """A world that answers, and every call that was made.

    `before` is asked first for each call; what it returns is sent instead of the answer. A creation of more than
    `most_processes` does not end within CMDB's 25 s: half of it is stored, and nobody is answered.
    """

    def __init__(self, journal: Path | None = None, *, seed: int = 0, hold_s: float = 0.5, first_id: int = 1) -> None:
        super().__init__(journal, first_id=first_id)
        self.calls: list[Call] = []
        self.keeps_calls = True
        self.before: Callable[[Call], Reply | None] = lambda call: None
        self.failures = Failures(seed, hold_s)
        self.most_processes: int | None = None
        self.url = ""

    def answer(self, call: Call) -> Reply:
        """What goes back."""
        if self.keeps_calls:
            self.calls.append(call)
        if (reply := self.before(call)) is not None:
            return reply
        kind = self.failures.throw(changes=call.api in CHANGES)
        if (reply := self.failures.before(kind)) is not None:
            return reply
        try:
            if call.api in CHANGES:
                return self._change(call, kind)
            if kind == "shifted":
                self._be_shifted()
            return read(self, call.api, call.body)
        except Refused as refused:
            return refusal(refused.code, str(refused))

    def control(self, body: Item) -> Reply:
        """What goes wrong from now on, and what has gone wrong so far: ``{"chances": {"half": 0.1}, "hold_s": 1}``."""
        self.failures.set(body.get("chances", self.failures.chances))
        self.failures.hold_s = body.get("hold_s", self.failures.hold_s)
        return Reply(body={"chances": self.failures.chances, "done": dict(self.failures.done)})

    @contextmanager
    def serving(self, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Self]:
        """Serve until the block ends, behind TLS where it is given."""
        httpd = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        httpd.daemon_threads = True
        if tls is not None:
            httpd.socket = tls.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            httpd.shutdown()
            httpd.server_close()
            thread.join()
            self.close()

    def _change(self, call: Call, kind: str) -> Reply:
        with self.lock:
            change, answer = CHANGES[call.api](self, call.body, call.headers.get("X-Bkcmdb-User", "admin"))
            is_half = kind == "half" or (self.most_processes is not None and change.size > self.most_processes)
            self.commit(change.half() if is_half else change)
        return self.failures.no_answer() if is_half or kind == "unheard" else success(answer)

    def _be_shifted(self) -> None:
        with self.lock:
            meddle(self, self.failures.dice)


def _handler(server: CmdbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes, and the second would wait 40 ms

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = self._reply(body)
            if reply.hangs_up:
                self.close_connection = True
                return
            if is_esb(self.path) and isinstance(reply.body, dict):
                reply = with_request_id(reply)
            content = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            self.send_response(reply.status)
            self.send_header("Content-Type", "text/html" if isinstance(reply.body, str) else "application/json")
            self.send_header("Content-Length", str(len(content.encode())))
            for name, value in reply.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content.encode())

        do_PUT = do_DELETE = do_POST  # noqa: N815

        def _reply(self, body: Item) -> Reply:
            if self.path == "/control":
                return server.control(body)
            api = api_of(self.command, self.path)
            return server.answer(Call(api, body, dict(self.headers))) if api else Reply(404, "no such page")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            # A client that is killed in the middle of an exchange is what some tests are about.
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

    return Handler
