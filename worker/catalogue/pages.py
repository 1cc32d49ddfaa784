"""The pages of an unfinished pull, kept in a directory, so that it goes on instead of starting again.

Each file is CMDB's answer with the ``request`` beside it, which is what `bksi catalogue import` reads too. Nothing in
it is secret: credentials travel in a header and are no part of a request's body.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MAX_AGE_S: Final = 3600.0
"""Pages older than this say too little about CMDB as it is now; all are read again."""

_OWNER: Final = "pull.json"
_PAGE: Final = "page-"


class PagesOfAnother(Exception):
    """The directory holds pages of another CMDB or business, or something that is no page at all."""


class Pages:
    """Pages in `directory`, made for its owner only when it does not exist.

    `owner` says what they are pages of; pages of something else are never touched.

    Raises:
        PagesOfAnother: the directory belongs to something else.
    """

    def __init__(self, directory: Path, owner: Mapping[str, Any]) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._read(_OWNER)
        if found is None and any(directory.iterdir()):
            raise PagesOfAnother(f"{directory} is not empty and holds no pages of a pull")
        if found is not None and found != dict(owner):
            raise PagesOfAnother(f"{directory} holds pages of {json.dumps(found)}")
        if found is None:
            self._write(_OWNER, owner)
        elif self._age_s() > MAX_AGE_S:
            self.discard("")

    @property
    def count(self) -> int:
        """How many pages are kept."""
        return len(self._files())

    def load(self, name: str) -> dict[str, Any] | None:
        """Return a page, or None when it has not been kept."""
        return self._read(f"{_PAGE}{name}.json")

    def save(self, name: str, page: Mapping[str, Any]) -> None:
        """Keep a page; a crash leaves it whole or not there."""
        self._write(f"{_PAGE}{name}.json", page)

    def discard(self, prefix: str) -> None:
        """Forget the pages whose names begin with `prefix`."""
        for file in self._files(prefix):
            file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all pages; the directory goes too unless it holds something else."""
        self.discard("")
        (self.directory / _OWNER).unlink(missing_ok=True)
        if not any(self.directory.iterdir()):
            self.directory.rmdir()

    def _age_s(self) -> float:
        stamps = [file.stat().st_mtime for file in self._files()]
        return time.time() - min(stamps, default=time.time())

    def _files(self, prefix: str = "") -> list[Path]:
        return list(self.directory.glob(f"{_PAGE}{prefix}*.json"))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.directory / name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        unfinished = self.directory / f".{name}.{os.getpid()}"
        unfinished.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        unfinished.replace(self.directory / name)
