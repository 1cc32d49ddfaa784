"""Values that only the worker can judge, by number: what is sent, and the one right answer.

`docs/bad-input.md` is made from this table, among others (``python -m tests.bad_input_page``).
"""

from dataclasses import dataclass
from typing import Any

from tests.acceptance.calls import bound, unbound

PROCESS = "instances[0].processes[0]"
INFO = f"{PROCESS}.process_info"
ROW = f"{INFO}.bind_info[0]"


@dataclass(frozen=True)
class Case:
    """`path` is where the error is, or, with code 0, what a warning names (empty: no warning)."""

    number: int
    name: str
    body: dict[str, Any]
    code: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.number}-{self.name.replace(' ', '-')}"


def _row(**values: Any) -> dict[str, Any]:
    """A request for an unbound module whose only bind row has these values."""
    body = unbound(90)
    body["instances"][0]["processes"][0]["process_info"]["bind_info"][0] |= values
    return body


def _info(**values: Any) -> dict[str, Any]:
    """A request for an unbound module whose only process has these properties."""
    body = unbound(90)
    body["instances"][0]["processes"][0]["process_info"] |= values
    return body


def _rows(*ids: int) -> dict[str, Any]:
    return _info(
        bind_info=[
            {"template_row_id": id_, "ip": "", "port": str(80 + n), "protocol": "1"} for n, id_ in enumerate(ids)
        ]
    )


def _hosts(*instances: dict[str, Any], module: int = 60) -> dict[str, Any]:
    return bound(0, module=module) | {"instances": list(instances)}


def _two_processes() -> dict[str, Any]:
    body = unbound(91, name="a")
    body["instances"][0]["processes"] += unbound(91, name="b", port="81")["instances"][0]["processes"]
    return body


def _with_template(template: int) -> dict[str, Any]:
    body = bound(92, process={"timeout": 7})
    body["instances"][0]["processes"][0]["process_template_id"] = template
    return body


PORTS = ("0", "65536", "99999", "080", "-80", "80-", ",", "80,", " 80", "80 ", "٨٠", "90-80", "8008,8443")
ADDRESSES = ("999.1.1.1", "127.1", "0177.0.0.1", "0x7f.0.0.1", "1.1.1.1/32", " 1.1.1.1", "1.1.1.1\n", "localhost")

CASES = (
    Case(29, "command of 2001 bytes", _info(start_cmd="a" * 2001), 1199011, f"{INFO}.start_cmd"),
    Case(29, "name of 257 bytes", _info(bk_process_name="ä" * 128 + "a"), 1199011, f"{INFO}.bk_process_name"),
    Case(35, "one host twice, alike", _hosts({"bk_host_id": 93}, {"bk_host_id": 93}), 0),
    Case(
        36,
        "one host twice, not alike",
        _hosts(bound(93)["instances"][0], bound(93, process={"timeout": 9})["instances"][0]),
        1199014,
        "instances[0].bk_host_id",
    ),
    Case(37, "one row id twice in a process", _rows(1, 1), 1199014, f"{INFO}.bind_info[1].template_row_id"),
    Case(38, "one row id in two processes", _two_processes(), 0),
    Case(42, "row of no template row", bound(92, process={"bind_info": [{"template_row_id": 77}]}), 0, ROW),
    Case(43, "no process template in a bound module", _with_template(0), 0, f"{PROCESS}.process_template_id"),
    Case(44, "process template of another business", _with_template(4), 0, f"{PROCESS}.process_template_id"),
    Case(44, "process template that does not exist", _with_template(4_000), 0, f"{PROCESS}.process_template_id"),
    Case(45, "module of another business", bound(2, module=80), 1113004, "bk_module_id"),
    Case(46, "inner module", bound(204, module=63), 1199006, "bk_module_id"),
    Case(47, "host of another module", bound(204), 1110056, "instances[0].bk_host_id"),
    Case(47, "host of another business", bound(301), 1110056, "instances[0].bk_host_id"),
    Case(47, "host that does not exist", bound(999_999), 1110056, "instances[0].bk_host_id"),
    Case(48, "template without processes", bound(203, module=65), 1199006, "bk_module_id"),
    Case(49, "no processes", _hosts({"bk_host_id": 90}, module=61), 1199010, "instances[0].processes"),
    Case(50, "locked value", bound(94, process={"bk_process_name": "mine"}), 0, f"{INFO}.bk_process_name"),
    *(Case(51, f"port {port!r}", _row(port=port), 1199011, f"{ROW}.port") for port in PORTS),
    Case(51, "no port", _row(port=""), 1199010, f"{ROW}.port"),
    Case(52, "every port", unbound(95, name="ports", port="1-65535"), 0),
    Case(52, "highest port", unbound(96, name="ports", port="65535"), 0),
    Case(57, "300 commas as a port", _row(port="," * 300), 1199011, f"{ROW}.port"),
    *(Case(58, f"ip {ip!r}", _row(ip=ip), 1199011, f"{ROW}.ip") for ip in ADDRESSES),
    Case(60, "IPv6 in another spelling", _row(ip="0:0::1", protocol="3"), 0),
    Case(60, "IPv6 with a scope", _row(ip="fe80::1%eth0", protocol="3"), 1199011, f"{ROW}.ip"),
    *(Case(61, f"protocol {text!r}", _row(protocol=text), 1199006, f"{ROW}.protocol") for text in ("0", "5", "tcp")),
    Case(61, "IPv4 over TCP6", _row(protocol="3"), 1199006, f"{ROW}.ip"),
    Case(61, "IPv6 over TCP", _row(ip="::1"), 1199006, f"{ROW}.ip"),
    Case(62, "empty ip", unbound(97) | {"instances": _row(ip="")["instances"]}, 0),
    Case(62, "null ip", unbound(97) | {"instances": _row(ip=None)["instances"]}, 0),
    *(Case(63, f"kind of address {kind} as an ip", _row(ip=str(kind)), 1199011, f"{ROW}.ip") for kind in (1, 8)),
    Case(64, "unknown field of the request", bound(92) | {"surprise": 1}, 0, "surprise"),
    Case(64, "unknown field of a process", bound(92, process={"surprise": 1}), 0, f"{INFO}.surprise"),
    Case(65, "business of somebody else inside", bound(92, process={"bk_biz_id": 2}), 0, f"{INFO}.bk_biz_id"),
    Case(65, "process of somebody else inside", bound(92, process={"bk_process_id": 1}), 0, f"{INFO}.bk_process_id"),
    *(
        Case(69, f"{name} {value}", _info(**{name: value}), 1199011, f"{INFO}.{name}")
        for name, value in (
            ("timeout", 0), ("timeout", 10_001), ("timeout", 2**62), ("proc_num", -1), ("priority", -101),
            ("priority", 10_001), ("bk_start_check_secs", -1), ("auto_time_gap", 0),
        )
    ),
    Case(112, "callback address", bound(92) | {"callback_url": "http://169.254.169.254/"}, 0, "callback_url"),
)  # fmt: skip
