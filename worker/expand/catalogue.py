"""What CMDB has, as the rules see it: plain frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Module:
    """A CMDB module. `service_template_id` 0 = unbound; `default` ≠ 0 = a built-in module (CMDB V6)."""

    bk_module_id: int
    bk_biz_id: int
    bk_module_name: str
    service_template_id: int = 0
    default: int = 0
    bk_supplier_account: str = "0"

    def is_seen_by(self, bk_supplier_account: str) -> bool:
        """Whether it is there for a caller of this account, who sees its own and those of "0" (CMDB V4)."""
        return self.bk_supplier_account in (bk_supplier_account, "0")

    @property
    def is_bound(self) -> bool:
        """Whether a service template stands behind the module."""
        return self.service_template_id != 0


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the module. Addresses are as CMDB shows them: comma-joined text, empty when there is none."""

    bk_host_id: int
    bk_host_innerip: str = ""
    bk_host_outerip: str = ""
    bk_host_innerip_v6: str = ""
    bk_host_outerip_v6: str = ""


@dataclass(frozen=True, slots=True)
class TemplateProperty:
    """One column of a template: `value` (may be None) and whether it is locked (`as_default_value` is true)."""

    value: Any
    locked: bool


@dataclass(frozen=True, slots=True)
class BindTemplate:
    """One bind row of a process template. `ip.value` is CMDB's enum "1".."8", "" or None."""

    row_id: int
    ip: TemplateProperty
    port: TemplateProperty
    protocol: TemplateProperty
    enable: TemplateProperty


@dataclass(frozen=True, slots=True)
class ProcessTemplate:
    """A process template: scalar properties by CMDB's name, and its bind rows in template order."""

    id: int
    properties: Mapping[str, TemplateProperty]
    bind_info: tuple[BindTemplate, ...] = ()
