"""Submit one instance over HTTP, with Python's standard library alone, and wait for its end.

Usage: http_python.py BK_HOST_ID
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

URL = os.environ.get("BKSI_URL", "http://127.0.0.1:8080")
IDENTITY = {"bk_app_code": os.environ.get("BKSI_APP_CODE", ""), "bk_app_secret": os.environ.get("BKSI_APP_SECRET", "")}


def call(path: str, body: object = None, **headers: str) -> dict[str, Any]:
    """One call, repeated while the server is busy or away."""
    headers = {"Content-Type": "application/json", "X-Bkapi-Authorization": json.dumps(IDENTITY), **headers}
    data = None if body is None else json.dumps(body).encode()
    for attempt in range(6):
        try:
            request = urllib.request.Request(URL + path, data, headers)
            with urllib.request.urlopen(request, timeout=30) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503) or attempt == 5:
                sys.exit(f"HTTP {error.code}: {json.load(error)['message']}")
            time.sleep(int(error.headers.get("Retry-After", "1")))
        except urllib.error.URLError as error:
            if attempt == 5:
                sys.exit(f"{URL}: {error.reason}")
            time.sleep(2**attempt / 10)
    raise AssertionError


def main(bk_host_id: int) -> None:
    """Submit, wait, print."""
    batch = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": bk_host_id}]}
    # One key for all tries: whatever got lost, it is the same request.
    report = call("/v1/batches", batch, **{"Idempotency-Key": uuid.uuid4().hex})
    while report["status"] in ("PENDING", "RUNNING"):
        report = call(f"/v1/batches/{report['request_id']}", Prefer="wait=20")
    print(report["request_id"], report["status"], report["data"] or report["message"])
    sys.exit(report["status"] != "SUCCESS")


if __name__ == "__main__":
    main(int(sys.argv[1]))
