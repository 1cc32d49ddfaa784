"""Tables of the catalogue for people."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from worker.catalogue.answers import Kind
from worker.commands.console import uncut
from worker.expand.catalogue import BindTemplate, ProcessTemplate, TemplateProperty
from worker.postgres.catalogue_summary import CatalogueSummary, ModuleSummary

LOCK = "🔒"
_COUNTED = (Kind.SERVICE_TEMPLATE, Kind.PROCESS_TEMPLATE, Kind.MODULE, Kind.MODULE_HOST_RELATION)


def summary_view(summary: CatalogueSummary) -> RenderableType:
    """A line for each business."""
    names = ("bk_biz_id", *(kind.replace("_", " ") + "s" for kind in _COUNTED))
    table = Table(*(Column(name, justify="right") for name in names), box=None, pad_edge=False)
    for bk_biz_id, counts in summary.businesses.items():
        table.add_row(str(bk_biz_id), *(str(counts.get(kind, 0)) for kind in _COUNTED))
    since = f"{summary.changed_at:%Y-%m-%d %H:%M:%S %Z}"
    return Group(table, Text(f"{summary.hosts} hosts. Version {summary.version}, since {since}."))


def module_view(module: ModuleSummary, templates: Iterable[ProcessTemplate]) -> RenderableType:
    """The module, then each process of its template."""
    bound = f"service template {module.service_template_id} ({module.service_template_name or 'not in the catalogue'})"
    kind = f", built-in (default {module.default})" if module.default else ""
    head = Text(
        f"Module {module.bk_module_id} {module.bk_module_name}, business {module.bk_biz_id}{kind}: "
        f"{bound if module.service_template_id else 'no service template'}, {module.hosts} hosts"
    )
    return Group(head, *_template_tables(templates)) if module.service_template_id else head


def _template_tables(templates: Iterable[ProcessTemplate]) -> Iterator[RenderableType]:
    for template in templates:
        yield Text()
        title = f"process template {template.id}"
        table = uncut("property", "template's value", title=title, title_justify="left")
        for name, column in template.properties.items():
            if column.value not in (None, "") or column.locked:
                table.add_row(name, _shown(column))
        for row in template.bind_info:
            table.add_row(f"bind_info row {row.row_id}", _bind_row(row))
        yield table
    yield Text(f"{LOCK} the template's value wins over the caller's", style="dim")


def _bind_row(row: BindTemplate) -> Text:
    columns = (("ip", row.ip), ("port", row.port), ("protocol", row.protocol), ("enable", row.enable))
    return Text(", ").join(Text(f"{name} ").append(_shown(column)) for name, column in columns)


def _shown(column: TemplateProperty) -> Text:
    value = "null" if column.value is None else str(column.value)
    return Text(f"{value} {LOCK}" if column.locked else value)
