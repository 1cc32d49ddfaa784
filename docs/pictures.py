"""Take the pictures in docs/pictures of the pages, as a system shows them that runs: python -m docs.pictures.

It starts a system of its own and a Chromium without a window (Debian: chromium, fonts-noto-cjk).
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx2

from devstack.running import RunningStack
from tests.acceptance.calls import bound, run, unbound
from tests.browser import CHROMIUM, Browser

FOLDER: Final = Path(__file__).with_name("pictures")
_PARTLY: Final[dict[str, Any]] = {
    "bk_biz_id": 1,
    "bk_module_id": 60,
    "mode": "partial",
    "labels": {"team": "payments"},
    "instances": [{"bk_host_id": host} for host in (2, 3, 4, 999)],
}
_FAILED: Final[dict[str, Any]] = {**_PARTLY, "mode": "atomic"}


_JOB: Final[dict[str, Any]] = {
    **_PARTLY,
    "instances": [{"bk_host_id": host} for host in (*range(1, 60), 999) for _ in "ab"],
}


def take(url: str, request_id: str, job_id: str) -> None:
    """All of them: a request, a job, and the list."""
    FOLDER.mkdir(exist_ok=True)
    with Browser() as browser:
        for name, path, width, height, look in (
            ("request", f"/v1/batches/{request_id}", 1100, 1230, {}),
            ("request-dark", f"/v1/batches/{request_id}", 1100, 1230, {"dark": True}),
            ("request-zh", f"/v1/batches/{request_id}", 1100, 1230, {"language": "zh"}),
            ("request-phone", f"/v1/batches/{request_id}", 390, 1400, {}),
            ("job", f"/v1/jobs/{job_id}", 1100, 870, {}),
            ("list", "/", 1100, 620, {}),
        ):
            browser.show(width, 800, **look)
            browser.open(url + path)
            browser.picture(FOLDER / f"{name}.png", height=height)


def main() -> None:
    """Start a system, let it do something, take the pictures."""
    if CHROMIUM is None:
        sys.exit("no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as directory, RunningStack.start(Path(directory)) as stack:
        run(stack.http, bound(3))
        run(stack.http, unbound(1))
        run(stack.http, _FAILED)
        request_id = run(stack.http, _PARTLY)["request_id"]
        job_id = httpx2.post(f"{stack.http}/v1/jobs", json=_JOB, timeout=60).json()["job_id"]
        httpx2.get(f"{stack.http}/v1/jobs/{job_id}", headers={"Prefer": "wait=20"}, timeout=60)
        take(stack.http, request_id, job_id)


if __name__ == "__main__":
    main()
