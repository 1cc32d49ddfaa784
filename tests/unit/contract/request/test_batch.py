"""The types: what a pending entry holds, the digest, and that both ways to read a body agree on anything."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.codes import Refused
from contract.message import Caller, Payload
from contract.request import keys
from contract.request.batch import PROCESS_PROPERTIES, ProcessInfo, ProcessList, PropertyRule, ServiceInstanceBatch
from contract.request.parse import BatchRefused, parse, plain_batch
from contract.request.reader import Reader

INT64 = st.integers(-(2**63), 2**63 - 1)
IDS = st.integers(1, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
# Of any text what a name may be as well: no control characters, and none that turns a line around.
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=12)
KINDS: dict[str, st.SearchStrategy[Any]] = {"text": TEXTS, "int": INT64, "bool": st.booleans()}


def optional(**values: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """Fields that may be null; `fixed_dictionaries` makes them absent at times."""
    return {name: st.none() | value for name, value in values.items()}


ROWS = st.fixed_dictionaries(
    {}, optional=optional(template_row_id=INT64, ip=TEXTS, port=TEXTS, protocol=TEXTS, enable=st.booleans())
)
PROPERTIES = {name: KINDS[rule.type] for name, rule in PROCESS_PROPERTIES.items()} | {
    "bk_process_name": NAMES,
    "bk_func_name": NAMES,
}
INFOS = st.fixed_dictionaries({}, optional=optional(**PROPERTIES, bind_info=st.lists(ROWS, max_size=2) | ROWS))
PROCESSES = st.fixed_dictionaries(
    {}, optional=optional(process_template_id=st.integers(0, 2**63 - 1), process_info=INFOS, user=TEXTS, timeout=INT64)
)
INSTANCES = st.fixed_dictionaries(
    {"bk_host_id": IDS},
    optional=optional(service_instance_name=NAMES, processes=st.lists(PROCESSES, max_size=2)),
)
BODIES = st.fixed_dictionaries(
    {"bk_biz_id": IDS, "bk_module_id": IDS, "instances": st.lists(INSTANCES, min_size=1, max_size=3)},
    optional=optional(on_existing=st.sampled_from(["reuse", "fail", "clone"]), mode=st.just("partial")),
)

# As most callers write: every property in its place, no null.
_PLAIN_ROWS = st.lists(
    st.fixed_dictionaries({"template_row_id": INT64, "port": TEXTS}, optional={"enable": st.booleans()}), max_size=2
)
_PLAIN_PROCESS = st.fixed_dictionaries(
    {"process_info": st.fixed_dictionaries({}, optional=PROPERTIES | {"bind_info": _PLAIN_ROWS})},
    optional={"process_template_id": st.integers(0, 2**63 - 1)},
)
PLAIN_BODIES = st.fixed_dictionaries(
    {
        "bk_biz_id": IDS,
        "bk_module_id": IDS,
        "instances": st.lists(
            st.fixed_dictionaries({"bk_host_id": IDS, "processes": st.lists(_PLAIN_PROCESS, max_size=2)}),
            min_size=1,
            max_size=3,
        ),
    }
)


def _body_of(info: object) -> dict[str, Any]:
    """A body of one instance with one process."""
    instance = {"bk_host_id": 1, "processes": [{"process_info": info}]}
    return {"bk_biz_id": 1, "bk_module_id": 60, "instances": [instance]}


# Any JSON, with words of the interface among its keys so that a walk goes deep.
WORDS = [
    *sorted(keys.HEAD),
    "instances",
    *sorted(keys.INSTANCE),
    "process_template_id",
    "process_info",
    "bind_info",
    "user",
]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\x00", "\ud8ff", "reuse"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=6),
    max_leaves=30,
)


@st.composite
def spoiled_bodies(draw: st.DrawFn) -> object:
    """A good body in which something, somewhere, was replaced or added."""
    body = draw(BODIES)
    node: Any = body
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys)) if keys else None
        if key is not None and isinstance(node[key], dict | list) and draw(st.booleans()):
            node = node[key]
        elif isinstance(node, dict):
            node[key if key is not None and draw(st.booleans()) else draw(st.text())] = draw(ANY_JSON)
            return body
        else:
            node.append(draw(ANY_JSON))
            return body


def backwards(node: Any) -> Any:
    """The same JSON with every object's keys in the opposite order."""
    if isinstance(node, dict):
        return {key: backwards(node[key]) for key in reversed(list(node))}
    return [backwards(item) for item in node] if isinstance(node, list) else node


@given(ANY_JSON | spoiled_bodies(), st.booleans())
def test_parse_of_any_json_answers_a_batch_or_refusals(body: object, strict: bool) -> None:
    parsed, errors = None, list[Refused]()
    try:
        parsed = parse(body, strict=strict)
    except BatchRefused as refused:
        errors.extend(refused.errors)
    assert all(error.path and error.message("en") and error.message("zh") for error in errors)
    if parsed is None:
        assert 1 <= len(errors) <= 20
        return
    assert len(parsed.batch.digest()) == 64
    assert len(parsed.warnings) <= 101
    assert not (strict and parsed.warnings)


def _meaning(batch: ServiceInstanceBatch) -> tuple[object, ...]:
    """All that a batch says, with each instance's own processes."""
    asked = [(host, name, place is None, batch.asked(place)) for host, name, place in batch.instances]
    return asked, batch.bk_biz_id, batch.bk_module_id, batch.on_existing, batch.mode, batch.strict


@given(ANY_JSON | spoiled_bodies() | BODIES | PLAIN_BODIES, st.booleans())
@example(_body_of({"bind_info": [], "user": None}), False)
@example(_body_of({"bind_info": [{}] * 20_000}), False)
@example(_body_of({"bk_process_name": " nginx "}), True)
def test_body_that_is_read_as_a_whole_is_read_as_one_object_at_a_time(body: object, strict: bool) -> None:
    """And what the patient way has something to say of, the other one leaves to it."""
    if not isinstance(body, dict):
        return
    reader = Reader(strict=strict or body.get("strict") is True)
    at_once, patiently = plain_batch(body), reader.read(body)
    if at_once is not None:
        assert patiently is not None
        assert _meaning(at_once) == _meaning(patiently)
        assert reader.found.warnings == ()


@given(PLAIN_BODIES)
def test_what_most_callers_write_is_read_as_a_whole(body: dict[str, Any]) -> None:
    assert plain_batch(body) is not None


@given(BODIES | PLAIN_BODIES)
def test_batch_survives_the_ledger(body: dict[str, Any]) -> None:
    batch = parse(body).batch
    payload = Payload.write("0" * 32, batch, Caller())
    again = Payload.load(payload).batch
    assert again == batch == Payload.check(payload).batch
    assert orjson.dumps(again) == orjson.dumps(batch)  # in the same order, which `==` does not see
    assert again.canonical() == batch.canonical()


@pytest.mark.parametrize("extra", [{}, {"unheard_of": 1}, {"timeout": None}], ids=["plain", "warned of", "null"])
def test_process_list_that_several_instances_ask_for_is_kept_once(extra: dict[str, Any]) -> None:
    alike = [{"process_info": {"bk_process_name": "nginx", "bk_func_name": "nginx", "timeout": 1, **extra}}]
    other = [{"process_info": {"bk_process_name": "nginx", "bk_func_name": "nginx", "timeout": 2}}]
    wanted = [alike, other, [dict(alike[0])], None, []]
    hosts = [
        {"bk_host_id": host} | ({} if list_ is None else {"processes": list_}) for host, list_ in enumerate(wanted, 1)
    ]

    batch = parse({"bk_biz_id": 1, "bk_module_id": 60, "instances": hosts}).batch
    stored = orjson.loads(Payload.write("0" * 32, batch, Caller()))["batch"]

    assert stored["instances"] == [[1, None, 0], [2, None, 1], [3, None, 0], [4, None, None], [5, None, 2]]
    assert [len(processes) for processes in stored["processes"]] == [1, 1, 0]


def test_what_gave_cause_for_a_word_gives_it_each_time() -> None:
    processes = [{"process_info": {"bk_process_name": "odd", "bk_func_name": "odd", "unheard_of": 1}}]
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 1, "processes": processes}]}
    path = "instances[0].processes[0].process_info.unheard_of"
    for _ in range(2):
        assert [warning["path"] for warning in parse(body).warnings] == [path]
    with pytest.raises(BatchRefused) as caught:
        parse(body, strict=True)
    assert [error.path for error in caught.value.errors] == [path]


def test_what_only_looks_alike_is_read_for_itself() -> None:
    def instance(host: int, timeout: object) -> dict[str, Any]:
        info = {"bk_process_name": "nginx", "bk_func_name": "nginx", "timeout": timeout}
        return {"bk_host_id": host, "processes": [{"process_info": info}]}

    with pytest.raises(BatchRefused) as refused:
        parse({"bk_biz_id": 1, "bk_module_id": 60, "instances": [instance(1, 1), instance(2, True), instance(3, 1.0)]})

    assert [error.path for error in refused.value.errors] == [
        f"instances[{index}].processes[0].process_info.timeout" for index in (1, 2)
    ]


def test_warnings_name_every_instance_even_when_all_ask_for_the_same() -> None:
    processes = [{"process_info": {"bk_process_name": "nginx", "bk_func_name": "nginx", "later": 1}}]
    hosts = [{"bk_host_id": host, "processes": processes} for host in (1, 2)]

    warnings = parse({"bk_biz_id": 1, "bk_module_id": 60, "instances": hosts}).warnings

    assert [warning["path"] for warning in warnings] == [
        f"instances[{index}].processes[0].process_info.later" for index in (0, 1)
    ]


@pytest.mark.parametrize(
    "spoiled",
    [
        {"processes": [[]], "instances": [[1, None, 1]]},
        {"processes": [[]], "instances": [[1, None, -1]]},
        {"processes": [[]], "instances": [[1, None, "0"]]},
        {"processes": [[]], "instances": [[1, None]]},
        {"processes": [[]], "instances": [{"bk_host_id": 1}]},
        {"processes": [[]], "instances": [["1", None, 0]]},
        {"processes": [[{"unheard_of": 1}]], "instances": [[1, None, 0]]},
        {"processes": [7], "instances": [[1, None, 0]]},
        {"processes": 7, "instances": [[1, None, 0]]},
        {"processes": [[]], "instances": 7},
        {"processes": [[]]},
        {"processes": [], "instances": []},
        {"processes": [[]], "instances": [[1, None, 0]], "unheard_of": 1},
    ],
)
def test_what_no_batch_is_stored_as_is_no_payload(spoiled: dict[str, Any]) -> None:
    stored = {"request_id": "0" * 32, "batch": {"bk_biz_id": 1, "bk_module_id": 60, **spoiled}}
    with pytest.raises(ValueError, match="this version"):
        Payload.check(orjson.dumps(stored))


def test_what_a_later_version_kept_is_refused_without_its_values() -> None:
    stored = {"request_id": "0" * 32, "batch": {"bk_biz_id": "CANARY", "bk_module_id": 60}}
    with pytest.raises(ValueError) as caught:
        Payload.check(orjson.dumps(stored))
    assert "CANARY" not in str(caught.value)


@given(BODIES)
def test_canonical_form_does_not_depend_on_the_order_of_keys(body: dict[str, Any]) -> None:
    assert parse(backwards(body)).batch.canonical() == parse(body).batch.canonical()


@given(BODIES)
def test_identity_and_unknown_fields_are_not_in_the_canonical_form(body: dict[str, Any]) -> None:
    sent = {**body, "bk_app_code": "a", "bk_app_secret": "s", "bk_token": "t", "client_request_id": "k", "later": [1]}
    assert parse(sent).batch.digest() == parse(body).batch.digest()


@given(BODIES)
def test_digest_is_of_what_each_instance_asks_for_wherever_that_is_written(body: dict[str, Any]) -> None:
    batch = parse(body).batch
    lists = [batch.asked(place) for _, _, place in batch.instances]
    instances = [(host, name, place) for place, (host, name, _) in enumerate(batch.instances)]
    assert replace(batch, processes=lists, instances=instances).digest() == batch.digest()


def batch_of(*asked: ProcessList | None, name: str | None = None, **options: Any) -> ServiceInstanceBatch:
    """One instance of host 2 for each process list."""
    lists = [list_ for list_ in asked if list_ is not None]
    places = iter(range(len(lists)))
    instances = [(2, name, None if list_ is None else next(places)) for list_ in asked]
    return ServiceInstanceBatch(bk_biz_id=1, bk_module_id=60, processes=lists, instances=instances, **options)


NGINX: ProcessList = [{"process_info": {"bk_process_name": "nginx"}}]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (batch_of(None), batch_of([], mode="atomic")),
        (batch_of(None), batch_of(None, name="")),
        (
            batch_of([{"process_info": {}}]),
            batch_of([{"process_template_id": 0, "process_info": {"bind_info": None}}], on_existing="reuse"),
        ),
        (batch_of([], NGINX, []), batch_of(None, NGINX, None)),
        (batch_of(NGINX, NGINX), batch_of(NGINX, [{"process_template_id": 0, **NGINX[0]}])),
    ],
    ids=["defaults", "empty-name", "no-rows", "no-processes", "no-template"],
)
def test_same_meaning_has_the_same_digest(one: ServiceInstanceBatch, other: ServiceInstanceBatch) -> None:
    assert one.digest() == other.digest()


def test_another_meaning_has_another_digest() -> None:
    def batch(info: ProcessInfo) -> ServiceInstanceBatch:
        return batch_of([{"process_info": info}])

    different = [
        batch_of([{}]),
        batch({}),
        batch({"user": None}),
        batch({"user": ""}),
        batch({"bind_info": [{}]}),
        batch({"bind_info": [{"ip": None}]}),
        batch_of(None),
        batch_of(None, mode="partial"),
        batch_of(None, on_existing="clone"),
        batch_of(None, strict=True),
        batch_of(None, None),
        batch_of(NGINX, None),
        batch_of(None, NGINX),
        batch_of(NGINX, NGINX),
    ]
    assert len({one.digest() for one in different}) == len(different)


def test_batch_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        batch_of(None).bk_biz_id = 3  # type: ignore[misc]


@pytest.mark.rule(
    "3.1",
    "types, ranges, byte limits and defaults of the process properties",
    ours="auto_time_gap and bk_func_id are kept",
)
def test_every_documented_property_has_its_rule() -> None:
    name = PropertyRule("text", max_bytes=256, required=True)
    short = PropertyRule("text", max_bytes=256, default="")
    long = PropertyRule("text", max_bytes=2000, default="")
    assert dict(PROCESS_PROPERTIES) == {
        "bk_process_name": name,
        "bk_func_name": name,
        "bk_start_param_regex": long,
        "description": short,
        "work_path": long,
        "user": short,
        "start_cmd": long,
        "stop_cmd": long,
        "restart_cmd": long,
        "face_stop_cmd": long,
        "reload_cmd": long,
        "pid_file": long,
        "auto_start": PropertyRule("bool", default=False),
        "proc_num": PropertyRule("int", minimum=1, maximum=10_000),
        "timeout": PropertyRule("int", minimum=1, maximum=10_000),
        "priority": PropertyRule("int", minimum=-100, maximum=10_000),
        "bk_start_check_secs": PropertyRule("int", minimum=0, maximum=600),
        "auto_time_gap": PropertyRule("int", minimum=1, maximum=10_000),
        "bk_func_id": short,
    }
    assert {*keys.INFO} == {*PROCESS_PROPERTIES, "bind_info"}
