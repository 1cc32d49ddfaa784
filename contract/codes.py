"""CMDB's error numbers with their texts in English and Chinese, and `Refused`, the one way to say no.

Numbers and the order of arguments are CMDB's; ``11900xx`` are ours. Texts are in our own words and one level deep: an
argument is a field path (``instances[3].processes[0].process_info.timeout``) or a plain value that is safe to show,
never what the caller sent.
"""

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from string import Formatter
from typing import Any, Final, Literal, Self

Language = Literal["en", "zh"]


class Code(IntEnum):
    """Every code an envelope may carry: number, English text, Chinese text. ``{0}`` ``{1}`` are CMDB's arguments."""

    english: str
    chinese: str

    def __new__(cls, number: int, english: str = "", chinese: str = "") -> Self:
        """Keep the number as the value; the texts ride along."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.english = english
        member.chinese = chinese
        return member

    SUCCESS = 0, "success", "success"

    # Ours: what an asynchronous interface has to say and CMDB never had to.
    STILL_RUNNING = 1190001, "Accepted, still running; poll this request_id", "已受理，仍在执行，请用此 request_id 轮询"
    REQUEST_NOT_FOUND = 1190002, "No such request", "请求不存在"
    RESULT_EXPIRED = 1190003, "The result of this request has expired", "该请求的结果已过期"
    IDEMPOTENCY_CONFLICT = 1190004, "This idempotency key was used with another body", "该幂等键已用于内容不同的请求"
    QUEUE_FULL = 1190006, "Too many requests are waiting; try again later", "排队的请求过多，请稍后重试"
    BROKER_UNAVAILABLE = 1190007, "The queue cannot be reached; try again later", "队列暂不可用，请稍后重试"
    CANCELLED = 1190008, "The request was cancelled", "请求已取消"
    TOO_LATE = (
        1190012,
        "Only a request that no worker has started can be cancelled; this one is {0}",
        "仅可取消尚未开始执行的请求，当前状态为 {0}",
    )
    NOT_RETRYABLE = (
        1190016,
        "Only a request that has ended without success can be tried again; this one is {0}",
        "仅可重试未成功结束的请求，当前状态为 {0}",
    )
    PAYLOAD_GONE = (
        1190017,
        "What the request asked for is not kept any more; send it again",
        "该请求的内容已不再保存，请重新提交",
    )
    DEADLINE_EXCEEDED = 1190009, "The request was not finished before its deadline", "请求未能在截止时间前完成"
    DEAD_LETTER = 1190010, "The request was started several times and never finished", "请求多次启动均未完成，已放弃"
    PARTLY_FAILED = 1190011, "Some instances could not be created; see the items", "部分服务实例创建失败，详见各项"
    NOT_DELIVERED = 1190018, "CMDB did not take the rows: {0} {1}", "CMDB 未接收数据：{0} {1}"
    BODY_TOO_LARGE = 1190013, "The request is too large", "请求体过大"
    UNSUPPORTED_MEDIA_TYPE = (
        1190014,
        "The body must be plain JSON in UTF-8 (application/json)",
        "请求体必须是未压缩的 UTF-8 JSON（application/json）",
    )

    UPLOAD_INTERRUPTED = (
        1190015,
        "The upload ended early; what was accepted is carried out, and the same key goes on where it stopped",
        "上传提前中断；已受理的部分照常执行，用同一幂等键重新上传即可续传",
    )

    # CMDB, common.
    BODY_NOT_JSON = 1199000, "The body is not valid JSON", "请求体不是合法的 JSON"
    BODY_UNREADABLE = 1199004, "The body could not be read", "读取请求体失败"
    BODY_EMPTY = 1199005, "The body is empty", "请求体为空"
    PARAM_INVALID = 1199006, "{0} is not valid", "参数 {0} 校验不通过"
    PARAM_NOT_TEXT = 1199007, "{0} must be text", "参数 {0} 必须是字符串"
    PARAM_NOT_INT = 1199009, "{0} must be an integer", "参数 {0} 必须是整数"
    PARAM_REQUIRED = 1199010, "{0} must have a value", "参数 {0} 未赋值"
    VALUE_INVALID = 1199011, "The value of {0} is not allowed", "{0} 的取值不合法"
    DUPLICATE = 1199014, "Duplicate data: {0}", "数据重复：{0}"
    PARAM_NOT_BOOL = 1199025, "{0} must be true or false", "参数 {0} 必须是布尔值"
    TOO_MANY = 1199035, "Too many at once: {0}, at most {1}", "数量超限：{0}，最多 {1}"
    PAGE_LIMIT_INVALID = 1199059, "The page limit is out of range", "分页参数超出范围"
    RATE_LIMITED = 1199997, "Too many requests; slow down", "请求过于频繁"
    UNKNOWN = 1199998, "Unknown error", "未知错误"
    INTERNAL = 1199999, "Internal error", "服务内部错误"

    # CMDB, by server: apiserver, topology, process, audit, host, core.
    GATEWAY_AUTH_FAILED = 1100004, "The gateway's token is not valid", "网关来源认证失败"
    MODULE_NOT_FOUND = 1101034, "No such module", "模块不存在"
    CREATE_PROCESS_FAILED = 1108008, "The processes could not be created from the template", "创建进程失败"
    HOST_NOT_IN_MODULE = 1110056, "These hosts are not in the module: {0}", "以下主机不在目标模块中：{0}"
    MODULE_NOT_IN_BIZ = 1113004, "Module {0} does not belong to business {1}", "模块 {0} 不属于业务 {1}"
    INSTANCE_EXISTS = 1113016, "Host {0} has a service instance in this module already", "主机 {0} 在该模块已有服务实例"
    TEMPLATE_NAME_DUPLICATE = 1113019, "Process alias {0} is already in the template", "模板中已有进程别名 {0}"
    TEMPLATE_FUNC_DUPLICATE = (
        1113020,
        "Process name {0} with start parameters {1} is already in the template",
        "模板中已有进程名 {0}、启动参数 {1} 的进程",
    )

    # ESB.
    APP_UNAUTHENTICATED = 1306401, "The application or user could not be authenticated", "应用或用户认证失败"
    COMPONENT_NOT_FOUND = 1306404, "No such path or method", "接口不存在"
    APP_AUTH_HEADER_INVALID = 1306406, "X-Bkapi-Authorization is not a JSON object", "X-Bkapi-Authorization 格式错误"
    NO_PERMISSION = 9900403, "You lack the permission for this", "没有执行此操作的权限"


class _Worded(StrEnum):
    """A word for programs, with a text in English and Chinese."""

    english: str
    chinese: str

    def __new__(cls, word: str, english: str = "", chinese: str = "") -> Self:
        """Keep the word as the value; the texts ride along."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.english = english
        member.chinese = chinese
        return member


class Reason(_Worded):
    """Why something was accepted but not taken as sent."""

    UNKNOWN_FIELD = "unknown_field", "not a field of this interface; ignored", "不是本接口的字段，已忽略"
    SERVER_OWNED = "server_owned", "set by the server; ignored", "由服务端设置，已忽略"
    REPLACED = "replaced", "replaced by bind_info in CMDB; ignored", "在 CMDB 中已由 bind_info 取代，已忽略"
    NESTED_WINS = "nested_wins", "also inside process_info, which was taken", "process_info 中也有此字段，以其为准"
    V1_ONLY = "v1_only", "only known under /v1; ignored", "仅 /v1 路径支持，已忽略"
    MORE = "more", "further fields were ignored; only the first are listed", "还有其他字段被忽略，仅列出前面的部分"
    LOCKED = "locked", "locked by the process template, whose value was taken", "已被进程模板锁定，取模板的值"
    TEMPLATE_UNMATCHED = (
        "template_unmatched",
        "not a process template of this module; the process was ignored",
        "不是该模块的进程模板，该进程已忽略",
    )
    TEMPLATE_REPEATED = (
        "template_repeated",
        "the same process template comes again later, and that one was taken",
        "同一进程模板在后面重复出现，以后者为准",
    )
    TEMPLATE_UNUSED = "template_unused", "the module has no service template; stored as 0", "模块未绑定服务模板，存为 0"
    ROW_UNMATCHED = "row_unmatched", "no bind row of the template has this id; ignored", "模板中没有该绑定行，已忽略"
    DUPLICATE_IN_REQUEST = (
        "duplicate_in_request",
        "an earlier instance of the request asks for the same; both have its id",
        "与本请求中前面的实例相同，两者 ID 一致",
    )
    DIFFERS = "differs", "the existing row has another value and was left as it is", "已有数据的值不同，保持不变"


class Why(_Worded):
    """What is wrong with a value, where the code does not tell: the last argument of a message, kept as a word."""

    GIVEN_TWICE = "given_twice", "given more than once", "重复给出"
    CONTRADICTED = "contradicted", "another value is given elsewhere", "与别处给出的值不一致"
    MALFORMED = "malformed", "missing or malformed", "缺失或格式错误"
    ONLY_CHUNKED = "only_chunked", "only chunked is taken", "仅支持 chunked"
    STRICT = "strict", "it would be ignored, which strict mode refuses", "该字段会被忽略，严格模式不允许"
    NOT_A_LIST = "not_a_list", "must be an array", "必须是数组"
    NOT_AN_OBJECT = "not_an_object", "must be an object", "必须是对象"
    NOT_POSITIVE = "not_positive", "must be above 0", "必须大于 0"
    NEGATIVE = "negative", "must be 0 or above", "不能小于 0"
    OUT_OF_RANGE = "out_of_range", "out of range", "超出范围"
    WRONG_TYPE = "wrong_type", "of the wrong type", "类型错误"
    EMPTY = "empty", "must not be empty", "不能为空"
    NAME_TOO_LONG = "name_too_long", "longer than 256 bytes", "长度超过 256 字节"
    CHARACTERS = "characters", "holds a character that is not allowed there", "含有不允许的字符"
    ON_EXISTING = "on_existing", "must be reuse, fail or clone", "必须是 reuse、fail 或 clone"
    MODE = "mode", "must be atomic or partial", "必须是 atomic 或 partial"
    PARTIAL_ON_V1 = "partial_on_v1", "only /v1 can say which instances failed", "仅 /v1 路径支持"
    ZERO_OR_ONE = "zero_or_one", "must be 0 or 1", "必须是 0 或 1"
    KEY = "key", "must be 1 to 255 visible ASCII characters", "必须是 1 到 255 个可见 ASCII 字符"
    USERNAME = "username", "at most 128 characters, no control characters", "最多 128 个字符，不含控制字符"
    ACCOUNT = "account", "no account of this application", "不是该应用的开发商账号"
    CURSOR = "cursor", "no cursor of this list", "不是该列表的游标"
    NUMBER = "number", "must be a whole number of at most 18 digits", "必须是不超过 18 位的整数"
    NOT_LISTED = "not_listed", "none of the values that the documentation lists", "不在文档列出的取值之中"
    NO_CLONE = (
        "no_clone",
        "a module with a service template has one instance for each host and takes no clone",
        "绑定服务模板的模块每台主机只能有一个实例，不支持 clone",
    )
    BUILT_IN = "built_in", "a built-in module has no service instances", "内置模块不能有服务实例"
    TEMPLATE_EMPTY = "template_empty", "the module's service template has no process", "该模块的服务模板没有进程"
    TEMPLATE_MISSING = "template_missing", "it is not in the catalogue", "目录中没有该服务模板"
    TEMPLATE_FOREIGN = "template_foreign", "the service template is another business's", "服务模板属于其他业务"
    PROTOCOL = (
        "protocol",
        'must be "1" (TCP), "2" (UDP), "3" (TCP6) or "4" (UDP6)',
        '必须是 "1"（TCP）、"2"（UDP）、"3"（TCP6）或 "4"（UDP6）',
    )
    FAMILY = "family", "address and protocol are of different IP versions", "地址与协议的 IP 版本不一致"
    FOREIGN_HOST = (
        "foreign_host",
        "without BKSI_APPS_FILE only this machine is served; call 127.0.0.1 or localhost",
        "未配置 BKSI_APPS_FILE 时仅供本机调用，请访问 127.0.0.1 或 localhost",
    )
    CROSS_SITE = (
        "cross_site",
        "pages of other sites may not use what a browser has logged in with",
        "不允许其他站点的页面借用浏览器的登录",
    )
    FOREIGN_ORIGIN = (
        "foreign_origin",
        "without BKSI_APPS_FILE pages of other sites may not call",
        "未配置 BKSI_APPS_FILE 时不允许其他站点的页面调用",
    )


def text(code: Code, args: Iterable[object] = (), language: Language = "en", *, path: str = "") -> str:
    """Render the message of `code`.

    A missing argument shows as ``?`` and a superfluous one not at all, so that rendering an error never fails, but for
    a `Why`, which follows at the end. A list is shown as its items. `path` is added in brackets when the text does not
    name it already.
    """
    template = code.english if language == "en" else code.chinese
    args = list(args)
    if "{" not in template and not path and not args:
        return template
    why = _text_of_why(args.pop(), language) if args and isinstance(args[-1], str) and args[-1] in _WHY else ""
    shown = [", ".join(map(str, arg)) if isinstance(arg, list | tuple) else str(arg) for arg in args]
    needed = sum(1 for _, name, _, _ in Formatter().parse(template) if name is not None)
    message = template.format(*shown, *["?"] * (needed - len(shown)))
    if path and not any(path in arg for arg in shown[:needed]):
        message = f"{message} ({path})" if language == "en" else f"{message}（{path}）"
    return message + why


_WHY: Final = frozenset(Why)


def _text_of_why(word: Any, language: Language) -> str:
    why = Why(word)
    return f": {why.english}" if language == "en" else f"：{why.chinese}"


class Refused(Exception):
    """A request, or one instance of it, cannot be carried out, and why.

    Args:
        code: CMDB's number.
        message_args: what the message needs, in CMDB's order. Never a value the caller sent.
        path: the field, from the body's root (``instances[0].bk_host_id``); empty when no single field is to blame.
    """

    def __init__(self, code: Code, *message_args: object, path: str = "") -> None:
        super().__init__(code, *message_args)
        self.code = code
        self.message_args = message_args
        self.path = path

    @classmethod
    def field(cls, code: Code, path: str, why: Why | None = None) -> Self:
        """A refusal whose one argument is the field's path, and what is wrong there if the code does not tell."""
        return cls(code, path, *(() if why is None else (why,)), path=path)

    def message(self, language: Language = "en") -> str:
        """The text to show."""
        return text(self.code, self.message_args, language, path=self.path)

    def document(self, language: Language = "en") -> dict[str, Any]:
        """The refusal as an entry of v1's ``errors``."""
        return {"path": self.path, "code": int(self.code), "message": self.message(language)}
