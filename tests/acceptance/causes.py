"""Codes that it takes more than one body to cause: what causes each, and both of its texts in full."""

import json
import socket
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx2
import redis as redis_client

from contract.codes import Code
from tests.acceptance.calls import ESB, bound, run, unbound
from tests.acceptance.pair import Pair
from tests.acceptance.side import ROOM, Said, Side
from tests.conftest import execute

NOBODYS_ID = "0" * 31 + "7"


def refused(host: int = 1) -> dict[str, Any]:
    """A batch that leaves no rows, whatever becomes of it."""
    return bound(host, module=999)


class World(NamedTuple):
    """What the causes below act upon."""

    pair: Pair
    http: httpx2.Client
    side: Side
    prepared: dict[Code, Said]


def half_a_body(url: str, headers: Mapping[str, str]) -> httpx2.Response:
    """The answer to a sender that stops in the middle."""
    address = httpx2.URL(url)
    lines = ["POST /v1/batches HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 9"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", "{"]).encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return httpx2.Response(int(head.split()[1]), content=body)


def unfinished(pair: Pair, side: Side) -> dict[Code, Said]:
    """Requests that no worker finds in its queue: one is cancelled, one comes too late, one is given up, one too many.

    What takes minutes is written into the ledger: a deadline that has passed, starts that never ended, a push so long
    ago that a reaper looks after the request.
    """
    internal = Said.of(side.ask("POST", "/v1/batches", refused(1)))
    waits = Said.of(side.ask("POST", ESB, refused(1)))
    cancelled, late, dead = waits.english["request_id"], side.accept(refused(2)), side.accept(refused(3))
    full = Said.of(side.ask("POST", "/v1/batches", refused(ROOM + 1)))
    ended = side.ask("POST", f"/v1/batches/{cancelled}:cancel")({}).json()
    assert ended["status"] == "TERMINATED"
    with redis_client.Redis.from_url(pair.redis) as redis:
        redis.hset(f"bksi:req:{late}", "deadline", 1)
        redis.hset(f"bksi:req:{dead}", "attempts", 3)
        redis.zadd("bksi:pending", dict.fromkeys((cancelled, late, dead), 1), xx=True)
    return {
        Code.INTERNAL: internal,
        Code.STILL_RUNNING: waits,
        Code.QUEUE_FULL: full,
        Code.CANCELLED: Said.of(side.poll(cancelled)),
        Code.DEADLINE_EXCEEDED: Said.of(side.poll(late)),
        Code.DEAD_LETTER: Said.of(side.poll(dead)),
    }


def conflict(world: World) -> Said:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    assert world.http.post("/v1/batches", json=refused(1), headers=key).status_code == 202
    return Said.of(lambda more: world.http.post("/v1/batches", json=refused(2), headers={**key, **more}))


def expired(world: World) -> Said:
    request_id = run(world.pair.http, refused())["request_id"]
    execute(world.pair.postgres, f"UPDATE request_ledger SET report = NULL WHERE request_id = '{request_id}'")
    with redis_client.Redis.from_url(world.pair.redis) as redis:
        redis.delete(f"bksi:result:{request_id}")
    return of_report(world, request_id)


def acted(world: World, verb: str) -> Said:
    """What is said to acting upon a request that has succeeded."""
    request_id = run(world.pair.http, bound(49))["request_id"]
    return Said.of(lambda more: world.http.post(f"/v1/batches/{request_id}:{verb}", headers=more))


def gone(world: World) -> Said:
    request_id = run(world.pair.http, refused())["request_id"]
    with redis_client.Redis.from_url(world.pair.redis) as redis:
        redis.delete(f"bksi:kept:{request_id}")
    return Said.of(lambda more: world.http.post(f"/v1/batches/{request_id}:retry", headers=more))


def partly(world: World) -> Said:
    good, bad = unbound(49, mode="partial"), unbound(50, port="0")
    good["instances"] += bad["instances"]
    return of_report(world, run(world.pair.http, good)["request_id"])


def interrupted(world: World) -> Said:
    lines = [{"bk_biz_id": 1, "bk_module_id": 999}, *({"bk_host_id": host} for host in range(1, 201)), {}]
    content = b"\n".join(json.dumps(line).encode() for line in lines)
    answer = world.http.post("/v1/jobs", content=content, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 400
    return Said.of(lambda more: world.http.get(answer.headers["Location"], headers=more))


def limited(world: World) -> Said:
    submit = world.side.ask("POST", "/v1/batches", {}, app="slow")
    assert submit({}).json()["code"] != Code.RATE_LIMITED
    return Said.of(submit)


def of_report(world: World, request_id: str) -> Said:
    return Said.of(lambda more: world.http.get(f"/v1/batches/{request_id}", headers=more))


def of_path(path: str) -> Callable[[World], Said]:
    return lambda world: Said.of(lambda more: world.http.get(path, headers=more))


def prepared(code: Code) -> Callable[[World], Said]:
    return lambda world: world.prepared[code]


CAUSES: dict[Code, tuple[Callable[[World], Said], str, str]] = {
    Code.SUCCESS: (lambda w: of_report(w, run(w.pair.http, bound(49))["request_id"]), "success", "success"),
    Code.STILL_RUNNING: (
        prepared(Code.STILL_RUNNING),
        "Accepted, still running; poll this request_id",
        "已受理，仍在执行，请用此 request_id 轮询",
    ),
    Code.REQUEST_NOT_FOUND: (of_path(f"/v1/batches/{NOBODYS_ID}"), "No such request", "请求不存在"),
    Code.RESULT_EXPIRED: (expired, "The result of this request has expired", "该请求的结果已过期"),
    Code.IDEMPOTENCY_CONFLICT: (
        conflict,
        "This idempotency key was used with another body",
        "该幂等键已用于内容不同的请求",
    ),
    Code.QUEUE_FULL: (
        prepared(Code.QUEUE_FULL),
        "Too many requests are waiting; try again later",
        "排队的请求过多，请稍后重试",
    ),
    Code.BROKER_UNAVAILABLE: (
        prepared(Code.BROKER_UNAVAILABLE),
        "The queue cannot be reached; try again later",
        "队列暂不可用，请稍后重试",
    ),
    Code.CANCELLED: (prepared(Code.CANCELLED), "The request was cancelled", "请求已取消"),
    Code.TOO_LATE: (
        lambda w: acted(w, "cancel"),
        "Only a request that no worker has started can be cancelled; this one is SUCCESS",
        "仅可取消尚未开始执行的请求，当前状态为 SUCCESS",
    ),
    Code.NOT_RETRYABLE: (
        lambda w: acted(w, "retry"),
        "Only a request that has ended without success can be tried again; this one is SUCCESS",
        "仅可重试未成功结束的请求，当前状态为 SUCCESS",
    ),
    Code.PAYLOAD_GONE: (
        gone,
        "What the request asked for is not kept any more; send it again",
        "该请求的内容已不再保存，请重新提交",
    ),
    Code.DEADLINE_EXCEEDED: (
        prepared(Code.DEADLINE_EXCEEDED),
        "The request was not finished before its deadline",
        "请求未能在截止时间前完成",
    ),
    Code.DEAD_LETTER: (
        prepared(Code.DEAD_LETTER),
        "The request was started several times and never finished",
        "请求多次启动均未完成，已放弃",
    ),
    Code.PARTLY_FAILED: (
        partly,
        "Some instances could not be created; see the items",
        "部分服务实例创建失败，详见各项",
    ),
    Code.UPLOAD_INTERRUPTED: (
        interrupted,
        "The upload ended early; what was accepted is carried out, and the same key goes on where it stopped",
        "上传提前中断；已受理的部分照常执行，用同一幂等键重新上传即可续传",
    ),
    Code.BODY_UNREADABLE: (
        prepared(Code.BODY_UNREADABLE),
        "The body could not be read: too slow",
        "读取请求体失败：传输过慢",
    ),
    Code.INTERNAL: (prepared(Code.INTERNAL), "Internal error", "服务内部错误"),
    Code.PAGE_LIMIT_INVALID: (
        of_path("/v1/batches?limit=0"),
        "The page limit is out of range (query.limit)",
        "分页参数超出范围（query.limit）",
    ),
    Code.RATE_LIMITED: (limited, "Too many requests; slow down", "请求过于频繁"),
    Code.GATEWAY_AUTH_FAILED: (
        lambda w: Said.of(w.side.ask("GET", "/v1/batches", headers={"X-Bkapi-JWT": "garbage"})),
        "The gateway's token is not valid",
        "网关来源认证失败",
    ),
    Code.COMPONENT_NOT_FOUND: (of_path("/v1/nothing"), "No such path or method (path)", "接口不存在（path）"),
    Code.NO_PERMISSION: (
        lambda w: Said.of(w.side.ask("POST", "/v1/batches", refused() | {"bk_biz_id": 2})),
        "You lack the permission for this",
        "没有执行此操作的权限",
    ),
}
NO_REQUEST_CAUSES = {
    Code.NOT_DELIVERED: "said where there is a CMDB: tests/integration/worker/delivery/test_deliveries.py",
    Code.UNKNOWN: "a report whose items say neither success nor failure, which nothing makes",
    Code.TEMPLATE_NAME_DUPLICATE: "said by an import: tests/unit/worker/catalogue/test_changes.py",
    Code.TEMPLATE_FUNC_DUPLICATE: "said by an import: tests/unit/worker/catalogue/test_changes.py",
}
