"""What is kept of a request that was given up: a letter in the list `Keys.dead_letters`.

The list also holds messages that never were requests; those letters are written by whoever consumes the queue.
"""

from typing import Final

import orjson

from contract.answer.report import Report
from contract.codes import Code
from contract.redis.script import Script

ADD_LETTER: Final = "contract/redis/parts/add_letter.lua"
"""Part of each script that writes a letter."""
SET_ASIDE: Final = Script(
    "contract/redis/set_aside.lua", keys="dead counter", args="letter most_letters", parts=(ADD_LETTER,)
)
PAYLOAD_TTL_S: Final = 30 * 86_400
"""How long the payload of a request that was given up is kept, so that it can be started anew."""


def letter_of(report: Report) -> bytes | None:
    """The letter of a request that ended with `report`; None for one that was not given up.

    Its keys: ``id`` (the request_id), ``kind`` = ``"request"``, ``at`` and ``created`` (ms since 1970), ``reason``,
    ``app``, ``biz``, ``module``, ``count`` (of instances), ``attempts``, ``job``
    (`JobPart.dump`, or empty).
    """
    if report.code != Code.DEAD_LETTER:
        return None
    return orjson.dumps(
        {
            "id": report.request_id,
            "kind": "request",
            "at": round((report.finished_at or report.created_at).timestamp() * 1000),
            "created": round(report.created_at.timestamp() * 1000),
            "reason": report.message(),
            "app": report.bk_app_code,
            "biz": report.bk_biz_id,
            "module": report.bk_module_id,
            "count": report.statistics.total_count,
            "attempts": report.attempts,
            "job": "" if report.job is None else report.job.dump(),
        }
    )
