"""Catalogues and requests for property tests: few hosts, names and ids, so that they meet."""

from typing import Any

from hypothesis import strategies as st

from worker.expand.catalogue import BindTemplate, CatalogueSlice, Host, Module, ProcessTemplate, TemplateProperty

HOSTS = {
    1: Host(1, "10.0.0.1"),
    2: Host(2, "10.0.0.2,10.0.1.2", "203.0.113.2", "fd00::2", "2001:db8::2"),
    3: Host(3, "", "", "fd00:0000:0000:0000:0000:0000:0000:0003"),
}
UNBOUND = CatalogueSlice(module=Module(60, 1, "hand made"), hosts=HOSTS)

GOOD_PORTS = ("80", "443", "8080-8089", "65535")
BAD_PORTS = ("", "0", "80,443", "90-80", "٨٠", None)
NAMES = ("nginx", "redis", "名", "job_java")
REGEXES = ("", "-c x", None)


def columns(values: st.SearchStrategy[Any]) -> st.SearchStrategy[TemplateProperty]:
    """A column of a template, locked or not."""
    return st.builds(TemplateProperty, values, st.booleans())


@st.composite
def bind_templates(draw: st.DrawFn, row_id: int) -> BindTemplate:
    """A template row that CMDB accepts; once in a while with a list of ports, which no instance can have."""
    version = draw(st.sampled_from([4, 6]))
    ip = draw(st.sampled_from(["1", "2", "3", "4", "", None] if version == 4 else ["5", "6", "7", "8", "", None]))
    return BindTemplate(
        row_id,
        TemplateProperty(ip, draw(st.booleans())),
        draw(columns(st.sampled_from([*GOOD_PORTS, *GOOD_PORTS, "80,443"]))),
        TemplateProperty(draw(st.sampled_from("12" if version == 4 else "34")), draw(st.booleans())),
        draw(columns(st.sampled_from([True, False, None]))),
    )


@st.composite
def process_templates(draw: st.DrawFn, template_id: int) -> ProcessTemplate:
    """A process template as CMDB has them: names locked, the rest locked or not."""
    row_ids = draw(st.lists(st.integers(1, 3), unique=True, max_size=3))
    return ProcessTemplate(
        template_id,
        {
            "bk_process_name": TemplateProperty(NAMES[template_id], locked=True),
            "bk_func_name": TemplateProperty("java", locked=True),
            "bk_start_param_regex": TemplateProperty(f"-{template_id}", draw(st.booleans())),
            "timeout": draw(columns(st.sampled_from([None, 10, 10_000]))),
            "user": draw(columns(st.sampled_from([None, "", "root"]))),
        },
        tuple(draw(bind_templates(row_id)) for row_id in row_ids),
    )


@st.composite
def catalogues(draw: st.DrawFn) -> CatalogueSlice:
    """A module that is bound to one to three process templates, or unbound; hosts 1 to 3 are in it."""
    if draw(st.booleans()):
        return UNBOUND
    ids = sorted(draw(st.lists(st.integers(1, 3), unique=True, min_size=1)))
    templates = tuple(draw(process_templates(id_)) for id_ in ids)
    return CatalogueSlice(Module(60, 1, "job", 7), 1, templates, HOSTS)


def _sparse(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


BIND_ROWS = _sparse(
    template_row_id=st.sampled_from([None, -1, 0, 1, 2, 3, 1234]),
    ip=st.sampled_from([None, "", "127.0.0.1", "10.0.0.1", "::1", "FD00::0:2", "3"]),
    port=st.sampled_from([*GOOD_PORTS, *GOOD_PORTS, *BAD_PORTS]),
    protocol=st.sampled_from(["1", "1", "2", "3", "9", None]),
    enable=st.sampled_from([True, False, None]),
)
PROCESS_INFOS = _sparse(
    bk_process_name=st.sampled_from([*NAMES, " nginx ", "", None]),
    bk_func_name=st.sampled_from([*NAMES, "java"]),
    bk_start_param_regex=st.sampled_from(REGEXES),
    timeout=st.sampled_from([None, 0, 1, 10, 30]),
    priority=st.sampled_from([None, -100, 5]),
    user=st.sampled_from([None, "", "root", "x" * 257]),
    bind_info=st.none() | st.lists(BIND_ROWS, max_size=3),
)
PROCESSES = st.fixed_dictionaries(
    {"process_template_id": st.integers(0, 3)}, optional={"process_info": st.none() | PROCESS_INFOS}
)
INSTANCES = st.fixed_dictionaries(
    {"bk_host_id": st.integers(1, 3)},
    optional={
        "service_instance_name": st.sampled_from([None, "", "a", "b"]),
        "processes": st.lists(PROCESSES, max_size=3),
    },
)


def bodies(
    instances: st.SearchStrategy[dict[str, Any]] = INSTANCES,
    *,
    on_existing: tuple[str, ...] = ("reuse", "reuse", "fail"),
) -> st.SearchStrategy[dict[str, Any]]:
    """Requests of one to four instances in module 60; by default good and bad ones."""
    return st.fixed_dictionaries(
        {
            "bk_biz_id": st.just(1),
            "bk_module_id": st.just(60),
            "instances": st.lists(instances, min_size=1, max_size=4),
            "mode": st.sampled_from(["atomic", "partial"]),
            "on_existing": st.sampled_from(on_existing),
        }
    )


# Requests that are well formed and overlap: the same instances with other processes, rows and values.


def _with_row_ids(rows: list[dict[str, Any]], ids: list[int]) -> list[dict[str, Any]]:
    return [row | {"template_row_id": id_} for row, id_ in zip(rows, ids, strict=False)]


def _with_names(infos: list[dict[str, Any]], names: list[str], functions: list[str]) -> list[dict[str, Any]]:
    return [
        {"process_info": info | {"bk_process_name": name, "bk_func_name": function}}
        for info, name, function in zip(infos, names, functions, strict=False)
    ]


GOOD_ROWS = st.fixed_dictionaries(
    {"port": st.sampled_from(GOOD_PORTS), "protocol": st.sampled_from("12")},
    optional={"ip": st.sampled_from(["", "10.0.0.1"]), "enable": st.booleans()},
)
GOOD_INFOS = st.fixed_dictionaries(
    {"bind_info": st.builds(_with_row_ids, st.lists(GOOD_ROWS, max_size=3), st.permutations([1, 2, 3]))},
    optional={"timeout": st.sampled_from([1, 30]), "bk_start_param_regex": st.sampled_from(REGEXES)},
)


def _unbound_instances(processes: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"bk_host_id": st.integers(1, 2), "processes": processes},
        optional={"service_instance_name": st.just("a")},
    )


OVERLAPPING = _unbound_instances(
    st.builds(
        _with_names,
        st.lists(GOOD_INFOS, min_size=1, max_size=3),
        st.permutations(NAMES),
        st.permutations(NAMES),
    )
)
"""Instances for an unbound module that may ask for different things under one key: who comes first is stored."""


def _agreeing_process(name: str, row_ids: list[int]) -> dict[str, Any]:
    rows = [{"template_row_id": id_, "port": str(8000 + id_), "protocol": "1"} for id_ in sorted(row_ids)]
    return {"process_info": {"bk_process_name": name, "bk_func_name": name, "timeout": 30, "bind_info": rows}}


AGREEING = _unbound_instances(
    st.builds(
        lambda names, rows: [_agreeing_process(*pair) for pair in zip(names, rows, strict=False)],
        st.permutations(NAMES),
        st.lists(st.lists(st.integers(1, 3), unique=True, max_size=3), min_size=1, max_size=3),
    )
)
"""Instances for an unbound module whose processes and rows are the same wherever their keys are: parts of one whole.

Any number of requests of them ends in the same rows in any order, and at any concurrency.
"""
