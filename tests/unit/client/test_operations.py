"""What can be done with something that was submitted, blocking and awaiting alike."""

import asyncio
import inspect
import pickle
import threading
from typing import Any

import httpx2
import pytest

import bksi_client
from bksi_client import AsyncClient, BatchFailed, Client, Operation, RequestRefused, StillRunning, Unanswered
from tests.unit.client.scripted import Scripted, report, response

URL = "http://server"
ID = "a" * 32
RUNNING, DONE, FAILED = (response(200, report(status)) for status in ("RUNNING", "SUCCESS", "FAILED"))
AGAIN_AT_ONCE = response(200, report("RUNNING"), Retry_After="0")


def operation(*answers: Any) -> Operation:
    return Client(URL, http_client=Scripted(*answers).http).operation(ID, "mine")


def test_end_is_asked_for_once_and_then_known() -> None:
    server = Scripted(AGAIN_AT_ONCE, DONE)
    one = Client(URL, http_client=server.http).operation(ID)
    assert repr(one) == f"<Operation {ID}>"
    assert one.result()["data"] == [7]
    assert (one.done(), one.exception(), repr(one)) == (True, None, f"<Operation {ID} SUCCESS>")
    assert len(server.asked) == 2


def test_failure_is_raised_by_result_and_given_by_exception() -> None:
    one = operation(FAILED)
    failure = one.exception()
    assert isinstance(failure, BatchFailed)
    assert (failure.code, failure.request_id, failure.idempotency_key) == (1101034, ID, "mine")
    with pytest.raises(BatchFailed, match="1101034: No such module"):
        one.result()


def test_progress_tells_each_change_and_ends() -> None:
    pending = response(200, report("PENDING"))
    statuses = [seen["status"] for seen in operation(pending, pending, AGAIN_AT_ONCE, DONE).progress(every_s=0.01)]
    assert statuses == ["PENDING", "RUNNING", "SUCCESS"]


def test_progress_shows_the_end_to_who_has_asked_for_it_in_between() -> None:
    followed = operation(RUNNING, DONE, DONE)
    seen = []
    for shown in followed.progress(every_s=0.01):
        seen.append(shown["status"])
        assert followed.done()
    assert seen == ["RUNNING", "SUCCESS"]


def test_callbacks_are_called_at_the_end_though_one_of_them_fails(caplog: pytest.LogCaptureFixture) -> None:
    called: list[Any] = []
    all_called = threading.Event()
    go_on = threading.Event()

    def answer(_: httpx2.Request) -> httpx2.Response:
        assert go_on.wait(30)
        return response(200, report())

    one = operation(answer)
    one.add_done_callback(lambda _: called.append(1 / 0))
    one.add_done_callback(called.append)
    one.add_done_callback(lambda _: all_called.set())
    assert called == []
    go_on.set()
    assert all_called.wait(30)
    assert called == [one]
    assert "ZeroDivisionError" in caplog.text


def test_retry_is_another_operation_with_the_same_key() -> None:
    again = operation(response(202, report("PENDING", "b" * 32))).retry()
    assert (again.request_id, again.idempotency_key) == ("b" * 32, "mine")


def test_answer_of_v1_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[httpx2.Response] = []
    json = httpx2.Response.json
    monkeypatch.setattr(httpx2.Response, "json", lambda self: read.append(self) or json(self))
    one = operation(response(202, report("PENDING", "b" * 32)))
    for asked, call in enumerate((one.status, one.cancel, one.retry), 1):
        call()
        assert len(read) == asked


def test_filters_of_a_list_are_sent_together() -> None:
    server = Scripted(response(200, {"code": 0, "batches": [], "next_cursor": None}))
    filters: Any = {"status": "FAILED", "bk_biz_id": 1, "bk_module_id": 60, "idempotency_key": "order-17"}
    assert list(Client(URL, http_client=server.http).batches.list(**filters)) == []
    assert dict(server.asked[0].url.params) == {name: str(value) for name, value in filters.items()}


def test_id_from_elsewhere_reaches_nothing_but_what_it_names() -> None:
    server = Scripted(response(200, {"code": 0, "items": [], "next_cursor": None, "status": "SUCCESS"}))
    client = Client(URL, http_client=server.http)
    strange = f"../jobs/{ID}?x=#"
    client.operation(strange).status()
    client.poll(strange)
    assert list(client.operation(strange).items()) == []
    client.jobs.operation(strange).status()
    quoted = f"..%2Fjobs%2F{ID}%3Fx%3D%23"
    paths = [request.url.raw_path.decode().partition("?")[0] for request in server.asked]
    assert paths == [f"/v1/batches/{quoted}"] * 2 + [f"/v1/batches/{quoted}/items", f"/v1/jobs/{quoted}"]


def test_lists_page_by_themselves() -> None:
    pages = [
        response(200, {"code": 0, "items": [{"index": n}], "next_cursor": "more" if n < 2 else None}) for n in range(3)
    ]
    server = Scripted(*pages)
    items = Client(URL, http_client=server.http).operation(ID).items("failed")
    assert [item["index"] for item in items] == [0, 1, 2]
    assert [dict(request.url.params) for request in server.asked] == [
        {"outcome": "failed"},
        {"outcome": "failed", "cursor": "more"},
        {"outcome": "failed", "cursor": "more"},
    ]


def test_every_error_goes_through_a_pickle() -> None:
    running = StillRunning(operation(RUNNING), retry_after=2.0)
    refused = RequestRefused(409, {"code": 1190008, "message": "late", "request_id": ID}, idempotency_key="mine")
    for error in (running, refused, BatchFailed(report("FAILED"), idempotency_key="mine"), Unanswered("x")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        for name in ("code", "message", "request_id", "retry_after", "idempotency_key"):
            assert getattr(again, name) == getattr(error, name)
        assert (str(again), repr(again)) == (str(error), repr(error))
    assert pickle.loads(pickle.dumps(running)).operation is None


# The twin -------------------------------------------------------------------------------------------------------------


def test_awaiting_client_does_the_same() -> None:
    page = response(200, {"code": 0, "batches": [report()], "next_cursor": None})
    many = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": n} for n in range(150)]}

    async def scenario() -> None:
        def client(*answers: Any) -> AsyncClient:
            return AsyncClient(URL, http_client=Scripted(*answers).async_http)

        assert (await client(AGAIN_AT_ONCE, DONE).operation(ID))["data"] == [7]
        assert isinstance(await client(FAILED).operation(ID).exception(), BatchFailed)
        assert [one["request_id"] async for one in client(page).batches.list()] == [ID]
        assert (await client(page).batches.find("k")).request_id == ID  # type: ignore[union-attr]
        accepted = [one async for one in client(response(202, report("PENDING"))).submit_many(many)]
        assert len(accepted) == 2
        assert [seen["status"] async for seen in client(RUNNING, DONE).operation(ID).progress(0.01)] == [
            "RUNNING",
            "SUCCESS",
        ]
        called = asyncio.Event()

        async def callback(_: Any) -> None:
            called.set()

        client(DONE).operation(ID).add_done_callback(callback)
        await asyncio.wait_for(called.wait(), 30)

    asyncio.run(scenario())


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    pairs = [
        (bksi_client.Client, bksi_client.AsyncClient),
        (bksi_client.Operation, bksi_client.AsyncOperation),
        (bksi_client.Job, bksi_client.AsyncJob),
        (bksi_client.blocking.Batches, bksi_client.asynchronous.AsyncBatches),
        (bksi_client.blocking.Jobs, bksi_client.asynchronous.AsyncJobs),
    ]
    for one, other in pairs:
        mine, theirs = _methods(one), _methods(other)
        # httpx2's two clients, and what only an awaiting one needs.
        assert mine == theirs, one


def _methods(of: type) -> dict[str, list[tuple[str, Any]]]:
    return {
        name: [(parameter.name, parameter.default) for parameter in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(of, callable)
        if not name.startswith("_") or name == "__init__"
    }
