"""The models: what the worker validates again, the canonical form, and that `parse` and they agree on anything."""

from typing import Any
from unittest import mock

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.codes import Refused
from contract.message import Caller, Payload
from contract.request.batch import (
    PROCESS_PROPERTIES,
    REMEMBERED_LENGTH,
    REMEMBERED_LISTS,
    BindRow,
    InstanceSpec,
    ProcessInfo,
    ProcessSpec,
    PropertyRule,
    ServiceInstanceBatch,
    Texts,
    TextsOfProcesses,
)
from contract.request.parse import BatchRefused, parse
from contract.request.reader import Reader
from plumbing.lru import Recent

INT64 = st.integers(-(2**63), 2**63 - 1)
IDS = st.integers(1, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
KINDS: dict[str, st.SearchStrategy[Any]] = {"text": TEXTS, "int": INT64, "bool": st.booleans()}


def optional(**values: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """Fields that may be null; `fixed_dictionaries` makes them absent at times."""
    return {name: st.none() | value for name, value in values.items()}


ROWS = st.fixed_dictionaries(
    {}, optional=optional(template_row_id=INT64, ip=TEXTS, port=TEXTS, protocol=TEXTS, enable=st.booleans())
)
PROPERTIES = {name: KINDS[rule.type] for name, rule in PROCESS_PROPERTIES.items()}
INFOS = st.fixed_dictionaries({}, optional=optional(**PROPERTIES, bind_info=st.lists(ROWS, max_size=2) | ROWS))
PROCESSES = st.fixed_dictionaries(
    {}, optional=optional(process_template_id=st.integers(0, 2**63 - 1), process_info=INFOS, user=TEXTS, timeout=INT64)
)
INSTANCES = st.fixed_dictionaries(
    {"bk_host_id": IDS},
    optional=optional(service_instance_name=TEXTS, processes=st.lists(PROCESSES, max_size=2)),
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
WORDS = [*ServiceInstanceBatch.model_fields, *InstanceSpec.model_fields, *ProcessSpec.model_fields, "bind_info", "user"]
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


def _read(reader: Reader, body: dict[str, Any]) -> ServiceInstanceBatch | None:
    """Read by a process that has read nothing before."""
    with mock.patch("contract.request.reader._remembered", Recent(REMEMBERED_LISTS)):
        return reader.read(body)


@given(ANY_JSON | spoiled_bodies() | BODIES | PLAIN_BODIES, st.booleans())
@example(_body_of(None), False)
@example(_body_of({"bind_info": [], "user": None}), False)
@example(_body_of({"bind_info": [{}] * 20_000}), False)
@example(_body_of({"bk_process_name": " nginx ", "unheard_of": 1}), False)
def test_body_that_is_read_at_once_is_read_as_one_object_at_a_time(body: object, strict: bool) -> None:
    if not isinstance(body, dict):
        return
    at_once, one_by_one = (Reader(strict=strict, at_once=at_once) for at_once in (True, False))
    batch, expected = _read(at_once, body), _read(one_by_one, body)
    assert (batch is None) == (expected is None)
    if batch is not None and expected is not None:
        assert batch.model_dump(exclude_unset=True) == expected.model_dump(exclude_unset=True)
        assert at_once.found.warnings == one_by_one.found.warnings


@given(BODIES | PLAIN_BODIES)
def test_batch_survives_the_ledger(body: dict[str, Any]) -> None:
    batch = parse(body).batch
    payload = Payload.write("0" * 32, batch, Caller())
    again = Payload.load(payload).batch
    assert again == batch
    assert again.canonical() == batch.canonical()
    assert again.model_dump(exclude_unset=True) == batch.model_dump(exclude_unset=True)


def test_instances_that_ask_for_the_same_share_one_object_which_is_stored_once() -> None:
    alike = [{"process_info": {"bk_process_name": "nginx", "bk_func_name": "nginx", "timeout": 1}}]
    other = [{"process_info": {"bk_process_name": "nginx", "bk_func_name": "nginx", "timeout": 2}}]
    wanted = [alike, other, [dict(alike[0])], None, []]
    hosts = [
        {"bk_host_id": host} | ({} if list_ is None else {"processes": list_}) for host, list_ in enumerate(wanted, 1)
    ]

    batch = parse({"bk_biz_id": 1, "bk_module_id": 60, "instances": hosts}).batch
    stored = Payload.write("0" * 32, batch, Caller())

    first, _, third, *_ = batch.instances
    assert first.processes[0] is third.processes[0]
    packed = orjson.loads(stored)["batch"]
    assert [place for _, _, place in packed["instances"]] == [0, 1, 0, None, 2]
    assert [len(processes) for processes in packed["processes"]] == [1, 1, 0]
    again = Payload.load(stored).batch
    assert again.instances[0].processes[0] is again.instances[2].processes[0]
    assert again == batch


def test_processes_that_come_again_are_the_same_objects_on_both_sides_of_the_ledger() -> None:
    def body(host: int) -> dict[str, Any]:
        processes = [{"process_info": {"bk_process_name": "again", "bk_func_name": "again", "timeout": 7}}]
        return {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": host, "processes": processes}]}

    first, second = (parse(body(host)).batch for host in (1, 2))
    assert first.instances[0].processes[0] is second.instances[0].processes[0]
    assert first.digest() != second.digest()

    dumped = [Payload.write("0" * 32, batch, Caller()) for batch in (first, second)]
    read = [Payload.load(payload).batch for payload in dumped]
    assert read == [first, second]
    assert read[0].instances[0].processes[0] is read[1].instances[0].processes[0]


def test_what_gave_cause_for_a_word_gives_it_each_time() -> None:
    processes = [{"process_info": {"bk_process_name": "odd", "bk_func_name": "odd", "unheard_of": 1}}]
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 1, "processes": processes}]}
    path = "instances[0].processes[0].process_info.unheard_of"
    for _ in range(2):
        assert [warning.path for warning in parse(body).warnings] == [path]
    with pytest.raises(BatchRefused) as caught:
        parse(body, strict=True)
    assert [error.path for error in caught.value.errors] == [path]


def test_what_is_too_long_to_remember_is_read_each_time() -> None:
    processes = [{"process_info": {"bk_process_name": "long", "start_cmd": "x" * 10_000}}]
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 1, "processes": processes}]}
    first, second = parse(body).batch, parse(body).batch
    assert first == second
    assert first.instances[0].processes[0] is not second.instances[0].processes[0]


@pytest.mark.parametrize(("length", "times"), [(REMEMBERED_LENGTH, 1), (REMEMBERED_LENGTH + 1, 2)])
def test_text_of_the_same_objects_is_made_once_unless_it_is_long(length: int, times: int) -> None:
    made: list[tuple[ProcessSpec, ...]] = []

    def write(processes: tuple[ProcessSpec, ...]) -> Texts:
        made.append(processes)
        return Texts("", "x" * length)

    texts, process = TextsOfProcesses(write), ProcessSpec()
    assert [len(texts((process,)).stored) for _ in range(2)] == [length] * 2
    assert made == [(process,)] * times
    texts((ProcessSpec(),))
    assert len(made) == times + 1


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

    assert [warning.path for warning in warnings] == [
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
    with pytest.raises(ValidationError, match="batch"):
        Payload.load(orjson.dumps(stored))


@given(BODIES)
def test_parse_of_a_stored_batch_gives_the_same_batch(body: dict[str, Any]) -> None:
    batch = parse(body).batch
    again = parse(batch.model_dump(mode="json", exclude_unset=True))
    assert again.batch == batch
    assert again.warnings == ()


@given(BODIES)
def test_canonical_form_does_not_depend_on_the_order_of_keys(body: dict[str, Any]) -> None:
    assert parse(backwards(body)).batch.canonical() == parse(body).batch.canonical()


@given(BODIES)
def test_identity_and_unknown_fields_are_not_in_the_canonical_form(body: dict[str, Any]) -> None:
    sent = {**body, "bk_app_code": "a", "bk_app_secret": "s", "bk_token": "t", "client_request_id": "k", "later": [1]}
    assert parse(sent).batch.digest() == parse(body).batch.digest()


def batch_of(*instances: InstanceSpec, **options: Any) -> ServiceInstanceBatch:
    return ServiceInstanceBatch(bk_biz_id=1, bk_module_id=60, instances=instances, **options)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (batch_of(InstanceSpec(bk_host_id=2)), batch_of(InstanceSpec(bk_host_id=2, processes=()), mode="atomic")),
        (batch_of(InstanceSpec(bk_host_id=2)), batch_of(InstanceSpec(bk_host_id=2, service_instance_name=""))),
        (
            batch_of(InstanceSpec(bk_host_id=2, processes=(ProcessSpec(process_info=ProcessInfo()),))),
            batch_of(
                InstanceSpec(
                    bk_host_id=2,
                    processes=(ProcessSpec(process_template_id=0, process_info=ProcessInfo(bind_info=None)),),
                ),
                on_existing="reuse",
            ),
        ),
    ],
    ids=["defaults", "empty-name", "no-rows"],
)
def test_same_meaning_has_the_same_canonical_form(one: ServiceInstanceBatch, other: ServiceInstanceBatch) -> None:
    assert one.canonical() == other.canonical()


def test_another_meaning_has_another_canonical_form() -> None:
    def batch(info: ProcessInfo | None) -> ServiceInstanceBatch:
        return batch_of(InstanceSpec(bk_host_id=2, processes=(ProcessSpec(process_info=info),)))

    different = [
        batch(None),
        batch(ProcessInfo()),
        batch(ProcessInfo(user=None)),
        batch(ProcessInfo(user="")),
        batch(ProcessInfo(bind_info=(BindRow(),))),
        batch(ProcessInfo(bind_info=(BindRow(ip=None),))),
        batch_of(InstanceSpec(bk_host_id=2)),
        batch_of(InstanceSpec(bk_host_id=2), mode="partial"),
        batch_of(InstanceSpec(bk_host_id=2), on_existing="clone"),
        batch_of(InstanceSpec(bk_host_id=2), strict=True),
        batch_of(InstanceSpec(bk_host_id=2), InstanceSpec(bk_host_id=2)),
    ]
    assert len({one.digest() for one in different}) == len(different)


def test_absent_and_null_are_not_equal_in_a_row_or_a_process() -> None:
    assert ProcessInfo(user=None) != ProcessInfo()
    assert BindRow(ip=None) != BindRow()
    assert {ProcessInfo(user=None), ProcessInfo(), ProcessInfo()} == {ProcessInfo(), ProcessInfo(user=None)}
    assert len({BindRow(port="80"), BindRow(port="80"), BindRow(port="81")}) == 2


def test_models_cannot_be_changed_and_name_no_value_in_their_errors() -> None:
    instance = InstanceSpec(bk_host_id=2)
    with pytest.raises(ValidationError):
        instance.bk_host_id = 3  # type: ignore[misc]
    with pytest.raises(ValidationError) as caught:
        InstanceSpec.model_validate({"bk_host_id": "CANARY"})
    assert "CANARY" not in str(caught.value)


def test_misspelt_field_of_a_model_is_an_error() -> None:
    with pytest.raises(ValidationError):
        InstanceSpec(bk_host_id=2, procesess=())  # type: ignore[call-arg]


@pytest.mark.parametrize("count", [0, 101])
def test_worker_refuses_a_stored_batch_of_another_size(count: int) -> None:
    with pytest.raises(ValidationError):
        batch_of(*[InstanceSpec(bk_host_id=1)] * count)


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
    assert set(ProcessInfo.model_fields) == {*PROCESS_PROPERTIES, "bind_info"}
