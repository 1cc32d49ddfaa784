"""What docker-compose.yml asks a worker for its health, asked of a real one."""

import os
import subprocess
import sys
from pathlib import Path

import redis as redis_client
import yaml

from devstack.running import RunningStack

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())


def test_worker_is_healthy_while_it_renews_its_leases_and_not_elsewhere(
    stack: RunningStack, redis: redis_client.Redis, redis_url: str
) -> None:
    assert health_of_worker(stack.redis) == 0
    # An empty Redis, which has never heard of it.
    assert redis.dbsize() == 0
    assert health_of_worker(redis_url) == 1


def health_of_worker(redis_url: str) -> int:
    kind, python, *command = COMPOSE["services"]["worker"]["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    return subprocess.run(
        [sys.executable, *command], env=os.environ | {"BKSI_REDIS_URL": redis_url}, timeout=60, check=False
    ).returncode
