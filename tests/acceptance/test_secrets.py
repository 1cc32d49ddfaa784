"""Credentials are nowhere after a request, and what it asks for is only where it has to be."""

import json
import secrets
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis as redis_client

from tests.acceptance.calls import COMPAT_PATHS, SEED, bound, compat, finish, rows, submit, unbound


def every_value_of_redis(url: str) -> str:
    texts = []
    with redis_client.Redis.from_url(url) as redis:
        for key in redis.scan_iter():
            kind = redis.type(key)
            read = {
                b"string": redis.get,
                b"hash": redis.hgetall,
                b"list": lambda key: redis.lrange(key, 0, -1),
                b"zset": lambda key: redis.zrange(key, 0, -1),
                b"set": redis.smembers,
            }[kind]
            texts.append(repr((key, read(key))))
    return "\n".join(texts)


def every_row(dsn: str, but: tuple[str, ...] = ()) -> str:
    tables = rows(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    names = [table["tablename"] for table in tables if table["tablename"] not in but]
    return "\n".join(repr(rows(dsn, f'SELECT * FROM "{name}"')) for name in names)


def every_page_of_flower(flower: str, request_ids: list[str]) -> str:
    paths = ["/", "/tasks", "/broker", "/api/tasks", "/api/workers?refresh=1", "/metrics"]
    with httpx2.Client(base_url=flower, timeout=60) as http:
        workers = http.get("/api/workers").json()
        paths += [f"/worker/{name}" for name in workers]
        paths += [f"/api/workers?refresh=1&workername={name}" for name in workers]
        paths += [f"{page}/{id_}" for id_ in request_ids for page in ("/task", "/api/task/info")]
        return "\n".join(http.get(path).text for path in paths)


@pytest.mark.bad_input(
    108, "a secret in every request, which ends in every way", "nowhere in Redis, PostgreSQL, logs, Flower, metrics"
)
def test_secrets_of_a_request_are_found_nowhere(stack: Any) -> None:
    canary = f"CANARY{secrets.token_hex(8)}"
    credentials = {"bk_app_secret": canary, "bk_token": canary}
    request_ids = [compat(stack.http, SEED | credentials, path)["request_id"] for path in COMPAT_PATHS]
    for body in (bound(44), bound(44, module=999), bound(0), bound(44) | {"instances": canary}):
        answer = submit(stack.http, body | credentials).json()
        assert canary not in json.dumps(answer)
        request_ids.append(answer["request_id"])
        if answer.get("status") in ("PENDING", "RUNNING"):
            finish(stack.http, answer["request_id"])
    header = {"X-Bkapi-Authorization": json.dumps({"bk_app_code": "a", **credentials})}
    accepted = submit(stack.http, bound(44), **header).json()
    finish(stack.http, accepted["request_id"])

    for name, text in everywhere(stack, request_ids).items():
        assert text
        assert canary not in text, name
    assert accepted["request_id"] in every_value_of_redis(stack.redis)


def everywhere(stack: Any, request_ids: list[str]) -> dict[str, str]:
    """Everything the system has kept, said or shown."""
    return {
        "redis": every_value_of_redis(stack.redis),
        "postgres": every_row(stack.postgres),
        "logs": "\n".join(path.read_text(errors="replace") for path in Path(stack.logs).glob("*") if path.is_file()),
        "flower": every_page_of_flower(stack.flower, request_ids),
        "metrics": httpx2.get(f"{stack.http}/metrics", timeout=60).text,
    }


@pytest.mark.bad_input(
    108,
    "a password in a start command, of requests that end in every way",
    "in its rows; in no answer, log, metric, page",
)
def test_values_of_a_request_are_in_its_rows_and_nowhere_else(stack: Any) -> None:
    canary = f"CANARY{secrets.token_hex(8)}"
    values = {"start_cmd": f"run --password={canary}", "description": canary, "user": canary}
    created = unbound(48, name="leak", port="4800")
    created["instances"][0]["processes"][0]["process_info"] |= values
    name = {"service_instance_name": canary}
    endings = {
        "created": created,
        "differs": _with(created, description=f"{canary}-other"),
        "no such module": bound(44, module=999, process=values),
        "bad port": _with(created, bind_info=[{"ip": canary, "port": canary, "protocol": canary}]),
        "bad range": _with(created, timeout=10**9),
        "too long": _with(created, stop_cmd=canary * 200),
        "twice": created | {"instances": [*created["instances"], *_with(created, user="x")["instances"]]},
        "no host": unbound(987_654) | {"instances": [{**created["instances"][0], "bk_host_id": 987_654, **name}]},
        "wrong type": _with(created, start_cmd=[canary], auto_start=canary, proc_num=canary),
        "wrong shape": created | {"instances": [canary], "mode": canary, "bk_biz_id": canary},
        "unknown field": bound(44) | {"surprise": canary},
    }
    request_ids = []
    for ending, body in endings.items():
        answer = submit(stack.http, body).json()
        if answer.get("status") in ("PENDING", "RUNNING"):
            answer = finish(stack.http, answer["request_id"])
        request_ids.append(answer["request_id"])
        assert canary not in json.dumps(answer), ending
    assert canary not in json.dumps(compat(stack.http, endings["bad port"]))

    # What failed is kept for a day, so that it can be tried again; it is forgotten here to see where else anything is.
    with redis_client.Redis.from_url(stack.redis) as redis:
        kept = [key for key in redis.scan_iter("bksi:kept:*") if canary.encode() in redis.get(key)]
        assert kept
        redis.delete(*kept)
    for place, text in everywhere(stack, request_ids).items():
        assert canary not in text or place == "postgres", place
    assert canary not in every_row(stack.postgres, but=("process",))
    stored = rows(stack.postgres, "SELECT start_cmd FROM process WHERE start_cmd LIKE $1", f"%{canary}%")
    assert [row["start_cmd"] for row in stored] == [values["start_cmd"]]


def _with(body: dict[str, Any], **properties: Any) -> dict[str, Any]:
    changed = deepcopy(body)
    changed["instances"][0]["processes"][0]["process_info"] |= properties
    return changed
