"""A server for tests of the client alone: it answers by a list, through the HTTP client that a caller may bring."""

from collections.abc import Callable
from typing import Any

import httpx2

Answer = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]


def response(status: int, body: Any = None, **headers: str) -> httpx2.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json=body or {"code": 0}, headers=sent)


def report(status: str = "SUCCESS", request_id: str = "a" * 32, **more: Any) -> dict[str, Any]:
    done = status == "SUCCESS"
    counts = {"total_count": 1, "success_count": int(done), "failed_count": 0, "pending_count": 0, "running_count": 0}
    said = {"result": done, "code": 0 if done else 1101034, "message": "No such module", "data": [7] if done else None}
    return {"request_id": request_id, "status": status, "statistics": counts, **said, **more}


class Scripted:
    """Gives `answers` one after the other, the last of them for ever; `asked` holds what came."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        # A response is read once.
        return (
            answer(request)
            if callable(answer)
            else httpx2.Response(answer.status_code, content=answer.content, headers=answer.headers)
        )

    @property
    def http(self) -> httpx2.Client:
        return httpx2.Client(transport=httpx2.MockTransport(self))

    @property
    def async_http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self))
