"""Submit one instance with plain Celery, and nothing of ours; ask for its end over HTTP.

Usage: celery_send.py BK_HOST_ID
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

from celery import Celery

URL = os.environ.get("BKSI_URL", "http://127.0.0.1:8080")
# Without configured applications every HTTP caller is the same one without a name, and may ask for this request. Where
# applications are configured, name the one that will ask.
CALLER = {"bk_app_code": os.environ.get("BKSI_APP_CODE", ""), "bk_username": "admin"}


def send(bk_host_id: int) -> str:
    """Put the request on the queue; its id."""
    app = Celery(broker=os.environ.get("BKSI_BROKER", "redis://127.0.0.1:6379/0"))
    # On RabbitMQ the queue is a quorum queue.
    app.conf.task_create_missing_queue_type = "quorum"
    request_id = uuid.uuid4().hex
    batch = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": bk_host_id}]}
    app.send_task(
        "service_instance.create_batch.v1",
        kwargs={"request_id": request_id, "batch": batch, "caller": CALLER},
        task_id=request_id,
        queue="service_instance",
        # Flower shows these to whoever may see it; the batch may hold commands with passwords.
        argsrepr="biz=1 module=60 instances=1",
        kwargsrepr="",
        ignore_result=True,
    )
    return request_id


def wait(request_id: str) -> dict[str, object]:
    """The final report."""
    identity = {"bk_app_code": CALLER["bk_app_code"], "bk_app_secret": os.environ.get("BKSI_APP_SECRET", "")}
    headers = {"Prefer": "wait=20", "X-Bkapi-Authorization": json.dumps(identity)}
    for _ in range(100):
        try:
            request = urllib.request.Request(f"{URL}/v1/batches/{request_id}", headers=headers)
            with urllib.request.urlopen(request, timeout=30) as response:
                report: dict[str, object] = json.load(response)
                if report["status"] not in ("PENDING", "RUNNING"):
                    return report
        except urllib.error.HTTPError as error:
            # No worker has read the message yet: until then nobody but the queue knows of it.
            if error.code != 404:
                raise
            time.sleep(0.1)
    raise TimeoutError(request_id)


if __name__ == "__main__":
    outcome = wait(send(int(sys.argv[1])))
    print(outcome["request_id"], outcome["status"], outcome["data"] or outcome["message"])
    sys.exit(outcome["status"] != "SUCCESS")
