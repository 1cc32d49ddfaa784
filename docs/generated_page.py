"""A file that is made from the code or its tests: write it, or say whether it is out of date."""

from pathlib import Path


def write_or_check(page: Path, text: str, arguments: list[str]) -> int:
    """Write `text` to `page`; with ``--check`` among `arguments` only compare. The exit code: 1 when they differ."""
    if "--check" in arguments:
        return int(not page.exists() or page.read_text(encoding="utf-8") != text)
    page.write_text(text, encoding="utf-8")
    return 0
