"""The CMDB as a server of the site: started, killed and started again on the same port and journal."""

import json
import os
import sys
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Final

from chaos.cmdb.exchange import Item
from chaos.cmdb.failures import MUCH
from chaos.cmdb.world import World
from devstack.process import Guard, Process
from devstack.server import Server

_ROOT: Final = Path(__file__).parents[2]
HOLD_S: Final = 0.5
"""How long a caller waits for an answer that does not come, and how long CMDB may go on with what nobody hears of."""


class CmdbNode(Server):
    """Serves the sample's first business. `seed` is that of its failures."""

    name: ClassVar[str] = "cmdb"

    def __init__(self, directory: Path, guard: Guard, *, log: Path, seed: int) -> None:
        super().__init__(directory, guard, log=log)
        self.journal = self.directory / "journal"
        self._seed = seed

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def failures(self) -> dict[str, int]:
        """What has gone wrong so far, by kind."""
        lines = self.log.read_text().splitlines()
        return dict(Counter(line.removeprefix("failure: ") for line in lines if line.startswith("failure: ")))

    def instances(self) -> list[Item]:
        """All that it holds, by its journal; when it has stopped."""
        with closing(World(self.journal)) as world:
            return world.instances

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self._tell({"chances": dict.fromkeys(MUCH, 0)})

    def _spawn(self, port: int) -> Process:
        self._seed += 1  # the same failures at the same calls would be all that ever happens
        options = ("--port", str(port), "--seed", str(self._seed), "--hold-s", str(HOLD_S))
        command: list[str | Path] = [sys.executable, "-m", "chaos.cmdb", self.journal, *options]
        environment = os.environ | {"PYTHONPATH": str(_ROOT)}
        return Process("cmdb", command, log=self.log, guard=self._guard, env=environment)

    def _accepts(self) -> bool:
        process = self.process
        return process is not None and "http://" in process.tail()

    def _tell(self, what: dict[str, object]) -> None:
        asked = urllib.request.Request(f"{self.url}/control", json.dumps(what).encode())  # noqa: S310 - http to ourselves
        urllib.request.urlopen(asked, timeout=10).close()  # noqa: S310
