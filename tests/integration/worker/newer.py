"""A worker of the next version: beside this version's tasks it knows a second version of the one that creates.

``celery -A tests.integration.worker.newer worker``
"""

from contract.message import PUBLISH_TASK_NAME, TASK_NAME
from worker.app import app, runtime, settings
from worker.consumer.pool import CoroutineTask
from worker.consumer.transport.configure import use_transport
from worker.walk.task import Walk

__all__ = ["NEWER_TASK_NAME", "app"]

NEWER_TASK_NAME = TASK_NAME.removesuffix("1") + "2"


class Newer(CoroutineTask):
    name = NEWER_TASK_NAME
    typing = False
    throws = app.tasks[TASK_NAME].throws
    start = staticmethod(lambda **kwargs: Walk(runtime).run(kwargs))
    event_loop = staticmethod(lambda: runtime.loop)


app.register_task(Newer())
use_transport(app, settings, (TASK_NAME, PUBLISH_TASK_NAME, NEWER_TASK_NAME))
