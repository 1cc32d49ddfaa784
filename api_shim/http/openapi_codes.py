"""The table of codes: what each says, with which HTTP status under /v1, and what its caller should do."""

from collections.abc import Iterator
from typing import Final

from api_shim.http.answers import status_of
from contract.advice import ADVICE
from contract.codes import Code, Language

_HEAD: Final = {
    "en": "| code | HTTP on /v1 | message | what to do |",
    "zh": "| 错误码 | /v1 的 HTTP 状态码 | 含义 | 处理方式 |",
}
_ABOUT: Final = """\
Create CMDB service instances in batches and jobs. Whatever is accepted is carried out once, whatever breaks.

A code with HTTP status 200 stands in the report of a request that was accepted, or of one that runs. On the compat
paths every code comes with HTTP 200.

"""


def table(language: Language) -> str:
    """The table as Markdown."""
    return "\n".join((_HEAD[language], "|---|---|---|---|", *_rows(language))) + "\n"


def _rows(language: Language) -> Iterator[str]:
    place = 0 if language == "en" else 1
    for code in sorted(Code):
        text = (code.english, code.chinese)[place].format("…", "…")
        yield f"| {int(code)} | {status_of(code)} | {text} | {ADVICE[code][place]} |"


DESCRIPTION: Final = _ABOUT + table("en")
"""The head of `/docs`."""
