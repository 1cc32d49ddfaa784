"""The credentials of a request are nowhere after it: not in Redis, PostgreSQL, a log or on a page of Flower."""

import json
import secrets
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis as redis_client

from tests.acceptance.calls import COMPAT_PATHS, SEED, bound, compat, finish, rows, submit


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


def every_row(dsn: str) -> str:
    tables = rows(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return "\n".join(repr(rows(dsn, f'SELECT * FROM "{table["tablename"]}"')) for table in tables)


def every_page_of_flower(flower: str, request_ids: list[str]) -> str:
    paths = ["/", "/tasks", "/broker", "/api/tasks", "/api/workers?refresh=1", "/metrics"]
    workers = httpx2.get(f"{flower}/api/workers", timeout=60).json()
    paths += [f"/worker/{name}" for name in workers] + [f"/api/workers?refresh=1&workername={name}" for name in workers]
    paths += [f"{page}/{id_}" for id_ in request_ids for page in ("/task", "/api/task/info")]
    return "\n".join(httpx2.get(flower + path, timeout=60).text for path in paths)


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

    logs = "\n".join(path.read_text(errors="replace") for path in Path(stack.logs).glob("*") if path.is_file())
    pages = every_page_of_flower(stack.flower, request_ids)
    for text in (every_value_of_redis(stack.redis), every_row(stack.postgres), logs, pages):
        assert text
        assert canary not in text
    assert accepted["request_id"] in every_value_of_redis(stack.redis)
