"""The worker's commands.

`bksi` and its help stay quick: a group of commands is imported when it is called, and the modules imported here bring
no library that is slow to load; such a command imports what it needs when it runs.
"""

from importlib.util import find_spec

from cyclopts import App

from worker.commands.doctor.cli import doctor
from worker.commands.flower import flower
from worker.commands.sender_key import sender_key
from worker.commands.serve import migrate, worker
from worker.commands.show import show

# `cyclopts` comes with either side; the database driver tells that the worker's extra is installed.
if find_spec("asyncpg") is None:
    raise ModuleNotFoundError("the worker's commands need the extra: pip install 'bksi[worker]'", name="asyncpg")

app = App(name="worker", help="The worker's commands.")

app.command(worker)
app.command(migrate)
app.command("worker.catalogue.commands:app", name="catalogue", help="CMDB's modules, hosts and templates.")
app.command(show)
app.command(
    "worker.commands.dead_letters.commands:app",
    name="dlq",
    help="Dead letters: messages that no task may see, and requests that were given up after too many starts.",
)
app.command(
    "worker.commands.deliver:app",
    name="deliver",
    help="What is still to be handed on to CMDB, and what CMDB does not take: the dead letters of that.",
)
app.command(doctor)
app.command(flower)
app.command(sender_key)
