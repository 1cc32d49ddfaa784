"""Every code that the body of one request can cause, with both texts in full: what is sent, and what is said about it.

`tests/acceptance/test_codes.py` sends each through HTTP to a running system, and says what causes the other codes.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from contract.codes import Code, Why
from tests.acceptance.calls import bound, unbound

INFO = "instances[0].processes[0].process_info"


@dataclass(frozen=True)
class Case:
    """`path` is the field that v1 names; `before` is a body that runs first; `query` and `headers` go with `body`."""

    code: Code
    name: str
    body: dict[str, Any] | bytes
    path: str
    english: str
    chinese: str
    before: dict[str, Any] | None = None
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{int(self.code)}-{self.name.replace(' ', '-')}"

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def _field(code: Code, name: str, body: dict[str, Any], path: str, **more: Any) -> Case:
    """A refusal whose one argument is the field's path."""
    english, chinese = {
        Code.PARAM_INVALID: ("{} is not valid", "参数 {} 校验不通过"),
        Code.PARAM_NOT_TEXT: ("{} must be text", "参数 {} 必须是字符串"),
        Code.PARAM_NOT_INT: ("{} must be an integer", "参数 {} 必须是整数"),
        Code.PARAM_NOT_BOOL: ("{} must be true or false", "参数 {} 必须是布尔值"),
        Code.PARAM_REQUIRED: ("{} must have a value", "参数 {} 未赋值"),
        Code.VALUE_INVALID: ("The value of {} is not allowed", "{} 的取值不合法"),
        Code.DUPLICATE: ("Duplicate data: {}", "数据重复：{}"),
    }[code]
    shown, why = more.pop("shown", path), more.pop("why", None)
    english, chinese = english.format(shown), chinese.format(shown)
    if why is not None:
        english, chinese = f"{english}: {why.english}", f"{chinese}：{why.chinese}"
    return Case(code, name, body, path, english, chinese, **more)


def _process(**info: Any) -> dict[str, Any]:
    """A batch of one process in the module without a template."""
    return _processes({"process_info": {"bk_process_name": "a", "bk_func_name": "a"} | info})


def _processes(*processes: dict[str, Any]) -> dict[str, Any]:
    return {"bk_biz_id": 1, "bk_module_id": 61, "instances": [{"bk_host_id": 1, "processes": list(processes)}]}


def _row(**columns: Any) -> dict[str, Any]:
    return _process(bind_info=[{"ip": "127.0.0.1", "port": "80", "protocol": "1"} | columns])


def _hosts(*ids: int) -> dict[str, Any]:
    return {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": id_} for id_ in ids]}


def _twice(host: int) -> dict[str, Any]:
    """One instance twice under one generated name, with another start command."""
    body = unbound(host, "b")
    [instance] = body["instances"]
    [process] = instance["processes"]
    other = {"process_info": process["process_info"] | {"start_cmd": "x"}}
    return body | {"instances": [instance, {"bk_host_id": host, "processes": [other]}]}


AT_THE_DOOR = (
    Case(Code.BODY_EMPTY, "no body", b"", "", "The body is empty", "请求体为空"),
    Case(Code.BODY_NOT_JSON, "half an object", b"{", "", "The body is not valid JSON", "请求体不是合法的 JSON"),
    Case(
        Code.BODY_TOO_LARGE,
        "over 4 MiB",
        b" " * 4_194_305,
        "",
        "The request is too large: over 4 MiB",
        "请求体过大：超过 4 MiB",
    ),
    Case(
        Code.BODY_NOT_JSON,
        "a key twice",
        b'{"bk_biz_id": 1, "bk_biz_id": 2}',
        "",
        "The body is not valid JSON: a key appears twice in one object",
        "请求体不是合法的 JSON：同一对象中有重复的键",
    ),
    Case(
        Code.UNSUPPORTED_MEDIA_TYPE,
        "compressed",
        b"x",
        "",
        "The body must be plain JSON in UTF-8 (application/json): a content coding is not taken",
        "请求体必须是未压缩的 UTF-8 JSON（application/json）：不支持 Content-Encoding",
        headers={"Content-Encoding": "gzip"},
    ),
    Case(
        Code.APP_AUTH_HEADER_INVALID,
        "credentials no object",
        bound(1),
        "",
        "X-Bkapi-Authorization is not a JSON object",
        "X-Bkapi-Authorization 格式错误",
        headers={"X-Bkapi-Authorization": "[]"},
    ),
    Case(
        Code.APP_UNAUTHENTICATED,
        "secret in the query",
        bound(1),
        "query.bk_app_secret",
        "The application or user could not be authenticated (query.bk_app_secret)",
        "应用或用户认证失败（query.bk_app_secret）",
        query="?bk_app_secret=x",
    ),
    Case(
        Code.TOO_MANY,
        "101 instances",
        _hosts(*range(1, 102)),
        "instances",
        "Too many at once: create service instances, at most 100",
        "数量超限：create service instances，最多 100",
    ),
    _field(Code.PARAM_REQUIRED, "no instances", _hosts(), "instances"),
    _field(Code.PARAM_REQUIRED, "no module", _hosts(1) | {"bk_module_id": None}, "bk_module_id"),
    _field(Code.PARAM_INVALID, "host 0", _hosts(0), "instances[0].bk_host_id", why=Why.NOT_POSITIVE),
    _field(Code.PARAM_INVALID, "unknown key, strict", bound(1, x=1), "x", query="?strict=1", why=Why.STRICT),
    _field(
        Code.PARAM_INVALID,
        "name of 257 bytes",
        {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 1, "service_instance_name": "a" * 257}]},
        "instances[0].service_instance_name",
        why=Why.NAME_TOO_LONG,
    ),
    _field(Code.PARAM_NOT_INT, "id as text", bound(1) | {"bk_biz_id": "1"}, "bk_biz_id"),
    _field(Code.PARAM_NOT_INT, "timeout as text", _process(timeout="30"), f"{INFO}.timeout"),
    _field(Code.PARAM_NOT_TEXT, "port as a number", _row(port=80), f"{INFO}.bind_info[0].port"),
    _field(Code.PARAM_NOT_BOOL, "enable as a number", _row(enable=1), f"{INFO}.bind_info[0].enable"),
)
"""Refused before anything is stored."""

ODD_MODULE, ODD_HOST = 700, 701
"""Of business 7, which the test imports: a module whose template has a row that no instance can have."""

BY_THE_WORKER = (
    Case(
        Code.MODULE_NOT_FOUND,
        "unknown module",
        bound(1, module=999),
        "bk_module_id",
        "No such module (bk_module_id)",
        "模块不存在（bk_module_id）",
    ),
    Case(
        Code.MODULE_NOT_IN_BIZ,
        "module of another business",
        bound(1) | {"bk_biz_id": 2},
        "bk_module_id",
        "Module 60 does not belong to business 2 (bk_module_id)",
        "模块 60 不属于业务 2（bk_module_id）",
    ),
    _field(Code.PARAM_INVALID, "built-in module", bound(204, module=63), "bk_module_id", why=Why.BUILT_IN),
    Case(
        Code.PARAM_INVALID,
        "template without processes",
        bound(203, module=65),
        "bk_module_id",
        f"service_template_id is not valid (bk_module_id): {Why.TEMPLATE_EMPTY.english}",
        f"参数 service_template_id 校验不通过（bk_module_id）：{Why.TEMPLATE_EMPTY.chinese}",
    ),
    _field(
        Code.PARAM_INVALID, "clone in a bound module", bound(1, on_existing="clone"), "on_existing", why=Why.NO_CLONE
    ),
    _field(Code.PARAM_REQUIRED, "unbound without processes", _processes(), "instances[0].processes"),
    Case(
        Code.HOST_NOT_IN_MODULE,
        "hosts elsewhere",
        _hosts(1, 999_999, 204, 999_999),
        "instances[1].bk_host_id",
        "These hosts are not in the module: 999999, 204 (instances[1].bk_host_id)",
        "以下主机不在目标模块中：999999, 204（instances[1].bk_host_id）",
    ),
    Case(
        Code.INSTANCE_EXISTS,
        "existing and not wanted",
        bound(48, on_existing="fail"),
        "instances[0].bk_host_id",
        "Host 10.0.0.48 has a service instance in this module already (instances[0].bk_host_id)",
        "主机 10.0.0.48 在该模块已有服务实例（instances[0].bk_host_id）",
        before=bound(48),
    ),
    Case(
        Code.CREATE_PROCESS_FAILED,
        "template with a list of ports",
        bound(ODD_HOST, module=ODD_MODULE) | {"bk_biz_id": 7},
        "instances[0].processes[process_template_id=70].process_info.bind_info[template_row_id=1].port",
        "The processes could not be created from the template (instances[0].processes[process_template_id=70]"
        ".process_info.bind_info[template_row_id=1].port)",
        "创建进程失败（instances[0].processes[process_template_id=70].process_info.bind_info[template_row_id=1].port）",
    ),
    _field(
        Code.PARAM_INVALID,
        "process of no template, strict",
        _hosts(1) | {"instances": [{"bk_host_id": 1, "processes": [{"process_template_id": 0}]}]},
        "instances[0].processes[0].process_template_id",
        query="?strict=1",
        why=Why.STRICT,
    ),
    _field(
        Code.PARAM_INVALID,
        "process template in an unbound module, strict",
        _processes({"process_template_id": 1, "process_info": {"bk_process_name": "a", "bk_func_name": "a"}}),
        "instances[0].processes[0].process_template_id",
        query="?strict=1",
        why=Why.STRICT,
    ),
    _field(
        Code.PARAM_INVALID,
        "row of no template row, strict",
        bound(1, process={"bind_info": [{"template_row_id": 9}]}, strict=True),
        f"{INFO}.bind_info[0]",
        why=Why.STRICT,
    ),
    _field(
        Code.PARAM_INVALID, "unknown protocol", _row(protocol="5"), f"{INFO}.bind_info[0].protocol", why=Why.PROTOCOL
    ),
    _field(Code.PARAM_INVALID, "IPv4 with TCP6", _row(protocol="3"), f"{INFO}.bind_info[0].ip", why=Why.FAMILY),
    _field(Code.PARAM_REQUIRED, "process_info missing", _processes({"process_template_id": 0}), INFO),
    _field(Code.PARAM_REQUIRED, "name empty", _process(bk_process_name=" "), f"{INFO}.bk_process_name"),
    _field(Code.PARAM_REQUIRED, "port null", _row(port=None), f"{INFO}.bind_info[0].port"),
    _field(Code.VALUE_INVALID, "timeout 0", _process(timeout=0), f"{INFO}.timeout"),
    _field(Code.VALUE_INVALID, "unlocked timeout 10001", bound(1, process={"timeout": 10_001}), f"{INFO}.timeout"),
    _field(Code.VALUE_INVALID, "user of 257 bytes", _process(user="ä" * 128 + "b"), f"{INFO}.user"),
    _field(Code.VALUE_INVALID, "command of 2001 bytes", _process(start_cmd="a" * 2001), f"{INFO}.start_cmd"),
    _field(Code.VALUE_INVALID, "list of ports", _row(port="8008,8443"), f"{INFO}.bind_info[0].port"),
    _field(Code.VALUE_INVALID, "no address", _row(ip="127.1"), f"{INFO}.bind_info[0].ip"),
    _field(Code.VALUE_INVALID, "negative row", _row(template_row_id=-1), f"{INFO}.bind_info[0].template_row_id"),
    _field(
        Code.DUPLICATE,
        "two processes of one name",
        _processes(*({"process_info": {"bk_process_name": "a", "bk_func_name": name}} for name in "bc")),
        "instances[0].processes[1].process_info.bk_process_name",
        shown="instances[0].processes[0].process_info.bk_process_name, "
        "instances[0].processes[1].process_info.bk_process_name",
    ),
    _field(
        Code.DUPLICATE,
        "one row twice",
        _process(bind_info=[{"template_row_id": 1, "port": port, "protocol": "1"} for port in ("80", "81")]),
        f"{INFO}.bind_info[1].template_row_id",
        shown=f"{INFO}.bind_info[0].template_row_id, {INFO}.bind_info[1].template_row_id",
    ),
    Case(
        Code.DUPLICATE,
        "one host twice, otherwise",
        _twice(1),
        "instances[0].bk_host_id",
        "Duplicate data: instances[0], instances[1] (instances[0].bk_host_id)",
        "数据重复：instances[0], instances[1]（instances[0].bk_host_id）",
    ),
)
"""Accepted, and ended by a worker; nothing is written."""
