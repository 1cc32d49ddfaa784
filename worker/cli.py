"""The worker's commands.

The modules imported here bring no library that is slow to load; a command imports what it needs when it runs, so that
`bksi` and its help stay quick.
"""

from importlib.util import find_spec

from cyclopts import App

from worker.catalogue.cli import app as catalogue
from worker.commands.dead_letters.cli import app as dead_letters
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
app.command(catalogue)
app.command(show)
app.command(dead_letters)
app.command(doctor)
app.command(flower)
app.command(sender_key)
