"""Catalogues and batches as short as a rule needs them."""

from collections.abc import Mapping
from typing import Any

from contract.codes import Refused
from contract.request.batch import ServiceInstanceBatch
from contract.request.parse import parse
from worker.expand.bound import Expansion
from worker.expand.catalogue import (
    BindTemplate,
    Host,
    Module,
    ProcessTemplate,
    TemplateProperty,
)
from worker.expand.expand import CatalogueSlice, expand
from worker.expand.plan import Plan, PlannedBind, PlannedInstance, PlannedProcess

BIZ, MODULE, TEMPLATE = 1, 60, 7
REQUEST_ID = "e43da4ef221746868dc4c837d36f3807"


def locked(value: Any) -> TemplateProperty:
    return TemplateProperty(value, locked=True)


def free(value: Any = None) -> TemplateProperty:
    return TemplateProperty(value, locked=False)


def bind(row_id: int = 1, **columns: TemplateProperty) -> BindTemplate:
    """A row of a template: loopback, port 80, TCP, enabled, all unlocked."""
    defaults = {"ip": free("1"), "port": free("80"), "protocol": free("1"), "enable": free(True)}
    return BindTemplate(row_id, **(defaults | columns))


def template(id_: int = 1, *rows: BindTemplate, **columns: TemplateProperty) -> ProcessTemplate:
    """A process template with locked names of its own; every property not named is null and unlocked."""
    names = {"bk_process_name": locked(f"process{id_}"), "bk_func_name": locked(f"func{id_}")}
    return ProcessTemplate(id_, names | columns, rows)


def hosts(*ids: int) -> dict[int, Host]:
    """Hosts with the inner address 10.0.0.<id>."""
    return {id_: Host(id_, bk_host_innerip=f"10.0.0.{id_}") for id_ in ids}


def bound(*templates: ProcessTemplate, host: Host | None = None, **changes: Any) -> CatalogueSlice:
    """A module with a service template; hosts 1 to 9 unless `host` is given."""
    values: dict[str, Any] = {
        "module": Module(MODULE, BIZ, "module", TEMPLATE),
        "service_template_biz_id": BIZ,
        "expansions": tuple(map(Expansion, templates)),
        "hosts": hosts(*range(1, 10)) if host is None else {host.bk_host_id: host},
    }
    return CatalogueSlice(**(values | changes))


def unbound(**changes: Any) -> CatalogueSlice:
    """A module without a service template; hosts 1 to 9."""
    values = {"module": Module(MODULE, BIZ, "module"), "hosts": hosts(*range(1, 10))}
    return CatalogueSlice(**(values | changes))


def process(template_id: int = 0, /, **info: Any) -> dict[str, Any]:
    """A process item of a request."""
    return {"process_template_id": template_id, "process_info": info}


def named(name: str = "nginx", /, **info: Any) -> dict[str, Any]:
    """A process item that an unbound module takes."""
    return process(0, bk_process_name=name, bk_func_name=name, **info)


def instance(host_id: int = 1, /, *processes: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """An instance of a request."""
    return {"bk_host_id": host_id, "processes": list(processes), **fields}


def batch(*instances: Mapping[str, Any], **fields: Any) -> ServiceInstanceBatch:
    """A request as it comes in."""
    return parse({"bk_biz_id": BIZ, "bk_module_id": MODULE, "instances": list(instances), **fields}).batch


def plan(catalogue: CatalogueSlice, *instances: Mapping[str, Any], **fields: Any) -> Plan:
    """Expand a request of `instances`."""
    return expand(catalogue, batch(*instances, **fields), REQUEST_ID)


def one(catalogue: CatalogueSlice, spec: Mapping[str, Any]) -> PlannedInstance:
    """Expand a request of one instance that is not refused."""
    expanded = plan(catalogue, spec)
    assert not expanded.refused, expanded.refused
    (planned,) = expanded.instances
    return planned


def one_process(catalogue: CatalogueSlice, item: Mapping[str, Any] | None = None) -> PlannedProcess:
    """The only process of the only instance."""
    (planned,) = one(catalogue, instance(1, *([] if item is None else [item]))).processes
    return planned


def one_row(catalogue: CatalogueSlice, item: Mapping[str, Any] | None = None) -> PlannedBind:
    """The only bind row of it."""
    (row,) = one_process(catalogue, item).bind_info
    return row


def refusal(catalogue: CatalogueSlice, *processes: Mapping[str, Any]) -> tuple[int, str]:
    """Code and path with which the only instance is refused."""
    expanded = plan(catalogue, instance(1, *processes))
    assert expanded.instances == ()
    return said(expanded.refused[0])


def said(refused: Refused) -> tuple[int, str]:
    """Code and path of a refusal."""
    return int(refused.code), refused.path


def warned(catalogue: CatalogueSlice, *processes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The warnings about the only instance, which is not refused; paths without their first two steps."""
    expanded = plan(catalogue, instance(1, *processes))
    assert not expanded.refused, expanded.refused
    return [(path.removeprefix("instances[0].processes"), str(reason)) for path, reason in expanded.warnings]
