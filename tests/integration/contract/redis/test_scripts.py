"""Every script is one that the server takes."""

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from contract.redis.script import Script
from tests.lua import scripts


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in scripts()])
def test_server_takes_it(redis_url: str, script: Script) -> None:
    with Redis.from_url(redis_url) as client:
        try:
            client.script_load(script)
        except ResponseError as error:
            pytest.fail(f"{error}\n\n{script}")
