"""The worker's commands. Each is imported when it is called, so that `bksi` starts fast."""

from importlib.util import find_spec

from cyclopts import App

# `cyclopts` comes with either side; the database driver tells that the worker's extra is installed.
if find_spec("asyncpg") is None:
    raise ModuleNotFoundError("the worker's commands need the extra: pip install 'bksi[worker]'", name="asyncpg")

app = App(name="worker", help="The worker's commands.")

app.command("worker.serve:worker", name="worker")
app.command("worker.serve:migrate", name="migrate")
app.command("worker.catalogue.cli:app", name="catalogue", help="CMDB's modules, hosts and templates.")
app.command("worker.show:show", name="show")
