"""The Redis of docker-compose.yml: its own command line, on the server at hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from devstack.process import Guard, Process
from devstack.redis_users import password_of
from devstack.server import Server
from devstack.servers import Valkey

SERVICE: Final[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[1] / "docker-compose.yml").read_text())[
    "services"
]["redis"]
_PASSWORDS: Final = {
    "bksi": "REDIS_PASSWORD",
    "flower": "REDIS_FLOWER_PASSWORD",
    "sender": "REDIS_SENDER_PASSWORD",
}
"""Which variable of the service holds a user's password."""


class ComposeRedis(Server):
    """Started with the command line of docker-compose.yml, as `change` leaves it."""

    name = "redis"

    def __init__(self, directory: Path, guard: Guard, change: Callable[[str], str] = str) -> None:
        super().__init__(directory, guard)
        self._change = change

    @property
    def url(self) -> str:
        """Redis URL of the server's and the workers' user."""
        return self.url_of("bksi")

    def url_of(self, user: str) -> str:
        """Redis URL of one of its users."""
        return f"redis://{user}:{password_of(user, self.password)}@127.0.0.1:{self.port}/0"

    def _spawn(self, port: int) -> Process:
        self.data.mkdir(exist_ok=True)
        shell, option, command = SERVICE["command"]
        command = command.replace("$$", "$").replace("--dir /data ", f"--dir {self.data} ")
        passwords = {name: password_of(user, self.password) for user, name in _PASSWORDS.items()}
        assert passwords.keys() == SERVICE["environment"].keys()
        return Process(
            self.name,
            [f"/bin/{shell}", option, f"{self._change(command)} --bind 127.0.0.1 --port {port}"],
            log=self.log,
            guard=self._guard,
            # The server's own directory alone: whichever of the two names is there is the one that is started.
            env={"PATH": str(Valkey.program().parent), **passwords},
        )

    def _accepts(self) -> bool:
        return "Ready to accept connections" in (self.process.tail() if self.process else "")
