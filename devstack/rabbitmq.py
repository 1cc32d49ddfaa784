"""RabbitMQ from the system's own package, on a free port of loopback, as a plain child process.

Nothing of it outlives its directory: node, cookie and data lie there, and the port mapper that Erlang would leave
behind as a daemon runs in the same process group.
"""

import shlex
import subprocess
from pathlib import Path

from devstack.ports import free_port
from devstack.process import Guard, Process
from devstack.server import PLAIN_ENVIRONMENT, Server


class RabbitMQ(Server):
    """One node.

    Args:
        directory: made when missing.
        guard: who ends the server should this process die.
        script: RabbitMQ's own ``rabbitmq-server``. Debian has it in ``/usr/lib/rabbitmq/bin``; the wrapper in
            ``/usr/sbin`` changes the user and the directory.
    """

    name = "rabbitmq"

    def __init__(self, directory: Path, guard: Guard, *, script: Path) -> None:
        super().__init__(directory, guard)
        self._script = script
        self._mapper_port, self._node_port, self._management_port = free_port(), free_port(), free_port()

    @property
    def url(self) -> str:
        """AMQP URL of the virtual host ``/``."""
        return f"amqp://bksi:{self.password}@127.0.0.1:{self.port}//"

    @property
    def management_url(self) -> str:
        """HTTP URL of the management plugin's API, password included."""
        return f"http://bksi:{self.password}@127.0.0.1:{self._management_port}/api/"

    def ctl(self, *arguments: str) -> None:
        """Run ``rabbitmqctl`` on the node.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        environment = PLAIN_ENVIRONMENT | self._environment()
        subprocess.run(
            [self._script.with_name("rabbitmqctl"), *arguments], env=environment, check=True, capture_output=True
        )

    def _environment(self) -> dict[str, str]:
        """Of the node, and of who speaks to it."""
        return {
            "HOME": str(self.directory),
            # The node's name is part of its data: it must not change with the port.
            "RABBITMQ_NODENAME": "bksi@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_CRASH_DUMP": "/dev/null",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def _spawn(self, port: int) -> Process:
        config = self.directory / "rabbitmq.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = bksi\ndefault_pass = {self.password}\n"
            "log.file = false\nlog.console = true\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self._management_port}\n"
        )
        (plugins := self.directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
        environment = self._environment() | {
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
            ),
        }
        both = f"epmd & exec {shlex.quote(str(self._script))}"
        return Process(
            self.name,
            ["/bin/sh", "-c", both],
            log=self.log,
            guard=self._guard,
            env=PLAIN_ENVIRONMENT | environment,
            stop_signal=self.stop_signal,
            grace_s=20,
        )

    def _accepts(self) -> bool:
        return "Server startup complete" in (self.process.tail(200) if self.process else "")
