"""What a caller should do about each code: the last column of the table of codes."""

from collections.abc import Mapping
from typing import Final

from contract.codes import Code

_MEND: Final = (
    "Mend what the message and `errors` name; sent again unchanged it fails again.",
    "按 message 与 `errors` 指出的字段修正；原样重发仍会失败。",
)
_WAIT: Final = (
    "Send the same again, with the same key, after `Retry-After` seconds.",
    "等待 `Retry-After` 秒后，用同一幂等键原样重发。",
)
_SEND_AGAIN: Final = (
    "Send the same again, with the same idempotency key: nothing is created twice.",
    "用同一幂等键原样重发，不会重复创建。",
)
_CREDENTIALS: Final = (
    "Check application code, secret and user; do not repeat before they are right.",
    "检查应用编码、密钥与用户名，改正前请勿重试。",
)
_CATALOGUE: Final = (
    "Compare the ids with CMDB. Where they are right there, the operator imports the catalogue again.",
    "与 CMDB 核对各 ID；若 CMDB 中无误，请运维重新导入目录数据。",
)
_TEMPLATE: Final = (
    "Mend the process template in CMDB; then the operator imports the catalogue again.",
    "在 CMDB 中修正进程模板，再由运维重新导入目录数据。",
)

ADVICE: Final[Mapping[Code, tuple[str, str]]] = {
    Code.SUCCESS: ("Nothing.", "无需处理。"),
    Code.STILL_RUNNING: (
        "Poll `/v1/batches/{request_id}`, or send the same body again, which attaches to it.",
        "轮询 `/v1/batches/{request_id}`，或原样重发以等待同一请求。",
    ),
    Code.REQUEST_NOT_FOUND: (
        "Check the id and the application: another application's request is not found either.",
        "核对 ID 与应用；其他应用的请求同样查不到。",
    ),
    Code.RESULT_EXPIRED: (
        "Send the request again: what exists is found and reported as existing.",
        "重新提交；已存在的实例会被找到并返回。",
    ),
    Code.IDEMPOTENCY_CONFLICT: (
        "Use a new key for a new body, or the old body with the old key.",
        "新内容请用新的幂等键，旧键只能配原内容。",
    ),
    Code.QUEUE_FULL: _WAIT,
    Code.BROKER_UNAVAILABLE: _WAIT,
    Code.CANCELLED: ("Retry or submit it again if it is wanted after all.", "如仍需要，请重试或重新提交。"),
    Code.TOO_LATE: ("Poll it: it runs or has ended.", "该请求已开始或已结束，请查询结果。"),
    Code.NOT_RETRYABLE: ("Poll it: there is nothing to retry.", "无可重试的内容，请查询结果。"),
    Code.PAYLOAD_GONE: ("Send the whole request again.", "请重新提交完整请求。"),
    Code.DEADLINE_EXCEEDED: _SEND_AGAIN,
    Code.DEAD_LETTER: (
        "Tell the operator the request_id; retry it after the cause has been removed.",
        "将 request_id 告知运维，排除原因后再重试。",
    ),
    Code.NOT_DELIVERED: (
        "The rows are here; look at CMDB's code and message, remove the cause, then retry it, or `bksi deliver retry`.",
        "数据已在本系统；查看 CMDB 的错误码与信息，排除原因后重试该请求，或执行 `bksi deliver retry`。",
    ),
    Code.PARTLY_FAILED: (
        "Look at `items`; mend the failed ones and retry: what exists is left as it is.",
        "查看 `items`，修正失败项后重试；已创建的保持不变。",
    ),
    Code.BODY_TOO_LARGE: (
        "Send less at once, or a job (`POST /v1/jobs`) as NDJSON.",
        "减少单次数量，或用 `POST /v1/jobs` 以 NDJSON 提交。",
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: (
        "Send `Content-Type: application/json`, not compressed, in UTF-8.",
        "使用 `Content-Type: application/json`、UTF-8、不压缩。",
    ),
    Code.UPLOAD_INTERRUPTED: (
        "Send the whole upload again under the same key: it goes on where it stopped.",
        "用同一幂等键重新上传全部内容，将从中断处继续。",
    ),
    Code.BODY_NOT_JSON: _MEND,
    Code.BODY_UNREADABLE: _SEND_AGAIN,
    Code.BODY_EMPTY: _MEND,
    Code.PARAM_INVALID: _MEND,
    Code.PARAM_NOT_TEXT: _MEND,
    Code.PARAM_NOT_INT: _MEND,
    Code.PARAM_REQUIRED: _MEND,
    Code.VALUE_INVALID: _MEND,
    Code.DUPLICATE: _MEND,
    Code.PARAM_NOT_BOOL: _MEND,
    Code.TOO_MANY: (
        "Send at most as many at once, or all of them as a job (`POST /v1/jobs`).",
        "分批提交，或作为作业整体提交（`POST /v1/jobs`）。",
    ),
    Code.PAGE_LIMIT_INVALID: _MEND,
    Code.RATE_LIMITED: _WAIT,
    Code.UNKNOWN: ("Tell the operator the request_id.", "将 request_id 告知运维。"),
    Code.INTERNAL: (
        "Send the same again once, with the same key; if it stays, tell the operator the request_id.",
        "用同一幂等键重发一次；仍失败则将 request_id 告知运维。",
    ),
    Code.GATEWAY_AUTH_FAILED: _CREDENTIALS,
    Code.MODULE_NOT_FOUND: _CATALOGUE,
    Code.CREATE_PROCESS_FAILED: _TEMPLATE,
    Code.HOST_NOT_IN_MODULE: (
        "Transfer the hosts to the module in CMDB first; then the operator imports the catalogue again.",
        "先在 CMDB 中将主机转移到该模块，再由运维重新导入目录数据。",
    ),
    Code.MODULE_NOT_IN_BIZ: _CATALOGUE,
    Code.INSTANCE_EXISTS: (
        "Nothing if the instance is what you want; `on_existing: reuse` answers its id instead.",
        "若现有实例即所需则无需处理；`on_existing: reuse` 会返回其 ID。",
    ),
    Code.TEMPLATE_NAME_DUPLICATE: _TEMPLATE,
    Code.TEMPLATE_FUNC_DUPLICATE: _TEMPLATE,
    Code.APP_UNAUTHENTICATED: _CREDENTIALS,
    Code.COMPONENT_NOT_FOUND: ("Check the path and the method.", "检查路径与请求方法。"),
    Code.APP_AUTH_HEADER_INVALID: (
        "Send `X-Bkapi-Authorization` as one JSON object.",
        "`X-Bkapi-Authorization` 应为一个 JSON 对象。",
    ),
    Code.NO_PERMISSION: (
        "Ask for what `permission` names, or for the business to be added to the application.",
        "申请 `permission` 所列权限，或将该业务加入应用。",
    ),
}
"""(English, Chinese) of every code."""
