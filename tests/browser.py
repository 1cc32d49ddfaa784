"""A real Chromium without a window, driven by its own protocol over two pipes."""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The command, where there is one; Debian's package is called chromium."""
_OPTIONS: Final = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
    # The suite runs as root in containers, where Chromium's own sandbox does not start.
    "--no-sandbox",
    "--disable-dev-shm-usage",
)


class Browser:
    """One tab. Use as a context manager.

    `complaints` are what its console has said since the start: errors, refusals by a page's policy, exceptions.
    """

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self.complaints: list[str] = []
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._numbers = count(1)
        to_it, self._out = os.pipe()
        self._in, from_it = os.pipe()
        # It reads commands from 3 and writes answers to 4. Bash, for dash knows no descriptor of two digits.
        command = f'exec "$0" "$@" 3<&{to_it} 4>&{from_it}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, CHROMIUM, *_OPTIONS, f"--user-data-dir={self._profile.name}"],
            pass_fds=(to_it, from_it),
            # Its sockets lie there too, and go with it: who is killed tidies nothing up.
            env=os.environ | {"TMPDIR": self._profile.name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_it)
        os.close(from_it)
        self._heard = b""
        self._session = ""
        self._login: tuple[str, str] | None = None

    def __enter__(self) -> Self:
        try:
            self.anew()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        # Killed as a whole: its other processes would go on writing into the profile while that is removed.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def anew(self) -> None:
        """Go on as somebody else's browser, which has seen nothing yet."""
        self._session, self._login = "", None
        context = self._do("Target.createBrowserContext", disposeOnDetach=True)["browserContextId"]
        target = self._do("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._do(f"{domain}.enable")
        self.complaints.clear()
        self.show()

    def show(self, width: int = 1100, height: int = 800, *, dark: bool = False, language: str = "en") -> None:
        """From now on, a screen of this size, in these colours, whose user reads this language."""
        is_phone = width < 600
        self._do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._do("Emulation.setEmulatedMedia", features=[scheme])
        self._do("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})

    def without_scripts(self) -> None:
        """From now on."""
        self._do("Emulation.setScriptExecutionDisabled", value=True)

    def log_in(self, app_code: str, secret: str) -> None:
        """Answer whoever asks for a name and a password."""
        self._login = (app_code, secret)
        self._do("Fetch.enable", handleAuthRequests=True)

    def open(self, url: str) -> int:
        """Go there and wait until the page is loaded; the HTTP status."""
        self._loaded, self._status = False, 0
        self._do("Page.navigate", url=url)
        self._hear(lambda: self._loaded)
        return self._status

    def run(self, script: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        answer = self._do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Until an expression is true in the page."""
        while not self.run(f"Boolean({script})"):
            self.run("new Promise((resolve) => requestAnimationFrame(resolve))")

    def follow(self, script: str) -> None:
        """Run what leads to another page, and wait until that is loaded."""
        self._loaded = False
        self._do("Runtime.evaluate", expression=script, userGesture=True)
        self._hear(lambda: self._loaded)

    def picture(self, path: Path, *, height: int) -> None:
        """What is seen, from the top, as PNG."""
        width = self.run("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        image = self._do("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(image))

    def _do(self, method: str, **params: Any) -> Any:
        number = self._send(method, params)
        answers: list[dict[str, Any]] = []
        self._hear(lambda: bool(answers), lambda said: answers.append(said) if said.get("id") == number else None)
        assert "error" not in answers[0], (method, answers[0])
        return answers[0]["result"]

    def _send(self, method: str, params: dict[str, Any]) -> int:
        number = next(self._numbers)
        call = {"id": number, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._out, json.dumps(call).encode() + b"\0")
        return number

    def _hear(self, is_enough: Callable[[], bool], listener: Callable[[dict[str, Any]], None] | None = None) -> None:
        while not is_enough():
            while b"\0" not in self._heard:
                heard = os.read(self._in, 1 << 20)
                assert heard, "Chromium has ended"
                self._heard += heard
            first, _, self._heard = self._heard.partition(b"\0")
            said = json.loads(first)
            if listener is not None:
                listener(said)
            if said.get("sessionId") == self._session and (event := said.get("method")):
                self._note(event, said["params"])

    def _note(self, event: str, about: dict[str, Any]) -> None:
        match event:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.responseReceived" if about["type"] == "Document":
                self._status = about["response"]["status"]
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                self.complaints.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
            case "Runtime.exceptionThrown":
                self.complaints.append(str(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "warning"):
                self.complaints.append(str(about["args"]))
            case "Fetch.requestPaused":
                self._send("Fetch.continueRequest", {"requestId": about["requestId"]})
            case "Fetch.authRequired":
                self._answer(about["requestId"])

    def _answer(self, request_id: str) -> None:
        """Once: a name that was not taken is not tried again."""
        said = {"response": "CancelAuth"}
        if self._login is not None:
            said = {"response": "ProvideCredentials", "username": self._login[0], "password": self._login[1]}
            self._login = None
        self._send("Fetch.continueWithAuth", {"requestId": request_id, "authChallengeResponse": said})
