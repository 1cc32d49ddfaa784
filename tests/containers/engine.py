"""A container engine for the tests: the one that answers here, or one that is started for them and ends with them."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devstack.process import Guard, Process, ProcessFailed

_START_TIMEOUT_S: Final = 60.0


class NoContainers(Exception):
    """Nothing here runs containers, or makes their images; the text says why and what would help."""


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """The environment in which `docker` finds an engine.

    Raises:
        NoContainers: there is none, and none can be started.
    """
    for program in ("docker", compose()[0]):
        if shutil.which(program) is None:
            raise NoContainers(f"there is no {program}; on Debian: apt-get install docker.io docker-compose")
    if _answers(os.environ):
        yield dict(os.environ)
    elif shutil.which("dockerd") and os.geteuid() == 0:
        with _own_engine() as environment:
            yield environment
    else:
        raise NoContainers("no container engine answers; start one, or name it in DOCKER_HOST")


def compose() -> Sequence[str]:
    """The command of Compose: the plugin of Docker where it is installed, else the program of its own."""
    plugin = ("docker", "compose")
    if (
        shutil.which("docker")
        and subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0
    ):
        return plugin
    return ("docker-compose",)


@contextmanager
def _own_engine() -> Iterator[dict[str, str]]:
    """An engine that leaves this machine's network rules alone; ports are published by its proxy."""
    with tempfile.TemporaryDirectory(prefix="bksi-engine-", ignore_cleanup_errors=True) as name, Guard() as guard:
        directory = Path(name)
        environment = os.environ | {"DOCKER_HOST": f"unix://{directory}/docker.sock"}
        (directory / "daemon.json").write_text(json.dumps(_configuration(directory)))
        command = [str(shutil.which("dockerd")), "--config-file", str(directory / "daemon.json")]
        with Process("dockerd", command, log=directory / "log", guard=guard, grace_s=60) as daemon:
            try:
                daemon.wait_until(lambda: _answers(environment), timeout_s=_START_TIMEOUT_S, every_s=0.2)
            except ProcessFailed as failed:
                raise NoContainers(f"dockerd does not start: {failed}") from None
            yield environment


def _configuration(directory: Path) -> dict[str, object]:
    return {
        "hosts": [f"unix://{directory}/docker.sock"],
        "data-root": str(directory / "data"),
        "exec-root": str(directory / "exec"),
        "pidfile": str(directory / "pid"),
        "bridge": "none",
        "iptables": False,
        "ip-forward": False,
    }


def _answers(environment: Mapping[str, str]) -> bool:
    return subprocess.run(["docker", "info"], env=environment, capture_output=True, check=False).returncode == 0
