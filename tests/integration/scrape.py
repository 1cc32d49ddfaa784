"""What a process's /metrics says, as numbers."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families


def parse(text: str) -> dict[str, float]:
    """By series, as one writes it in PromQL: ``name`` or ``name{a="x",b="y"}``, labels in the order of their names."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{sample.name}{_shown(sample.labels)}": sample.value for sample in samples}


def scrape(url: str) -> dict[str, float]:
    """Ask for it."""
    return parse(httpx2.get(url, timeout=10).raise_for_status().text)


def _shown(labels: dict[str, str]) -> str:
    shown = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{shown}}}" if shown else ""
