"""The whole examination, and how it is printed."""

import asyncio
import os
from collections import Counter
from dataclasses import asdict
from typing import Final

from rich.text import Text

from contract.message import make_celery
from contract.settings import Settings, load_settings
from worker.commands.console import out, uncut
from worker.commands.doctor.environment import examine_environment, examine_open_files
from worker.commands.doctor.finding import Finding, Level
from worker.commands.doctor.flower import examine_flower
from worker.commands.doctor.ports import examine_metrics, examine_ports
from worker.commands.doctor.postgres import examine_postgres
from worker.commands.doctor.redis import examine_other_broker, examine_redis
from worker.commands.doctor.settings import examine_settings

_STYLES: Final = {Level.OK: "green", Level.SKIPPED: "dim", Level.WARNING: "yellow", Level.ERROR: "bold red"}


def run(*, flower: str | None, as_json: bool) -> int:
    """Examine what the settings of this process name, print it, and return the exit code."""
    findings = asyncio.run(examine(load_settings(), flower))
    is_well = not any(finding.level is Level.ERROR for finding in findings)
    if as_json:
        out.print_json(data={"ok": is_well, "findings": list(map(asdict, findings))}, highlight=False)
    else:
        _print(findings)
    return 0 if is_well else 1


async def examine(settings: Settings, flower: str | None = None) -> list[Finding]:
    """Every finding, in the order in which they are best read."""
    celery = make_celery(settings)
    try:
        return [
            *[finding async for finding in examine_redis(settings)],
            *[finding async for finding in examine_other_broker(celery, settings)],
            *[finding async for finding in examine_postgres(settings)],
            await examine_flower(flower),
            await examine_metrics(settings),
            *examine_settings(settings),
            examine_ports(settings),
            *examine_environment(os.environ),
            examine_open_files(settings),
        ]
    finally:
        celery.close()


def _print(findings: list[Finding]) -> None:
    table = uncut("", "check", "found, and how to mend it", show_edge=False, pad_edge=False)
    for finding in findings:
        mend = Text(f"\n→ {finding.mend}", "italic") if finding.mend else Text()
        table.add_row(Text(finding.level, _STYLES[finding.level]), finding.check, Text(finding.found) + mend)
    out.print(table)
    counts = Counter(finding.level for finding in findings)
    out.print(", ".join(f"{counts[level]} {level}" for level in Level), highlight=False)
