"""``python -m chaos``: start the site, let callers call and faults happen, let everything come to its end, judge."""

import asyncio
import json
import random
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import redis
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from chaos.cmdb_history import CmdbJudgement, judge_cmdb
from chaos.faults import Faults
from chaos.history import Stored, judge
from chaos.load import Load
from chaos.plot import draw
from chaos.site import Site
from chaos.stored import count_undelivered, outdated_reports, read_known_ids, read_stored
from chaos.verdict import LIMIT_S, Run, Verdict, recoveries
from contract.message import QUEUE_NAME
from contract.redis.records import Keys
from contract.settings import Settings
from devstack.process import ProcessFailed
from plumbing.cancel import cancel_and_wait

_console = Console(highlight=False, soft_wrap=True)
_NEWS_EVERY_S: Final = 15.0
_DRAIN_S: Final = 240.0
_CONTROL_DRAIN_S: Final = 45.0
"""Where requests must get lost, nobody need wait for them for long."""
_LOOK_S: Final = 0.1


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is asked for.

    Attributes:
        minutes: how long; 1 unless --kills says when it is enough.
        kills: end after so many kill -9.
        seed: of what is asked for and what breaks; a random one is chosen and shown.
        report_dir: where result.json, result.svg and logs go; the servers' data too, if anything is wrong.
        workers: worker processes.
        appendfsync: of Redis. With everysec a power loss loses accepted requests, and the verdict says so.
        fault_every_s: mean time between two faults.
        per_s: requests a second while nothing is wrong.
        cmdb: deliver everything to a CMDB that fails as is reported of the real one, and is killed; and judge what it
            has in the end.
    """

    minutes: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    kills: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    seed: Annotated[int, Parameter(show_default=False)] = field(default_factory=lambda: secrets.randbelow(1_000_000))
    report_dir: Path = Path("chaos-report")
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = 2
    appendfsync: Literal["always", "everysec"] = "always"
    fault_every_s: Annotated[float, Parameter(validator=Number(gt=0))] = 2.0
    per_s: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0
    cmdb: Annotated[bool, Parameter(negative=())] = False


def run_chaos(options: Options) -> None:
    """Do it; ends the process with exit code 1 unless nothing was lost, doubled or otherwise wrong."""
    _remove(options.report_dir, "postgres", "redis", "redis-2", "cmdb", "logs")
    try:
        seed = options.seed if options.cmdb else None
        with Site(options.report_dir, workers=options.workers, appendfsync=options.appendfsync, cmdb_seed=seed) as site:
            verdict = asyncio.run(_run(options, site))
    except ProcessFailed as failed:
        sys.exit(f"chaos: {failed}")
    document = verdict.document()
    (options.report_dir / "result.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.report_dir / "result.svg").write_text(draw(document, LIMIT_S))
    verdict.show(_console)
    _console.print(f"{options.report_dir}: result.json, result.svg, logs")
    if not verdict.is_good:
        sys.exit(1)
    _remove(options.report_dir, "postgres", "redis", "redis-2", "cmdb")


def _remove(directory: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(directory / name, ignore_errors=True)


async def _run(options: Options, site: Site) -> Verdict:
    load = Load(site.urls, site.broker("sender"), options.seed, per_s=options.per_s)
    lease_s, is_control = Settings().owner_ttl_ms / 1000, options.appendfsync != "always"
    drain_s = _CONTROL_DRAIN_S if is_control else _DRAIN_S
    faults = Faults(site, options.seed, load.known, lease_s, is_control=is_control)
    enough = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    when = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    begin = time.monotonic()
    supervision = asyncio.create_task(asyncio.to_thread(site.supervise))
    calls = asyncio.create_task(load.run())
    try:
        await _break_things(options, faults, load, lambda: enough.is_set() or calls.done())
        _console.print("No more faults. What is open comes to its end ...")
        load.stop()
        await asyncio.to_thread(faults.heal)
        await asyncio.wait([calls], timeout=drain_s)
        end = time.monotonic()
        left = await _undelivered(site, drain_s) + await asyncio.to_thread(_left_over, site, drain_s)
    finally:
        site.stop_supervising()
        await cancel_and_wait([calls])
        await supervision
    if not calls.cancelled() and (error := calls.exception()):
        raise error
    stored = await read_stored(site.postgres.url)
    left += await outdated_reports(site.postgres.url, site.valkey.url)
    judgement = judge(load.told, stored, load.jobs)
    cmdb = await _judge_cmdb(site, stored)
    return Verdict(
        Run(_command(options), when, options.seed, begin, end, site.loses_power),
        judgement,
        (*judgement.wrong, *load.wrong, *left, *(cmdb.wrong if cmdb else ())),
        faults.kills,
        site.ends.by_itself,
        load.kinds,
        _jobs_of(load),
        _cmdb_of(site, cmdb),
        tuple(faults.done),
        recoveries(faults.done, load.told),
        load.told,
    )


async def _break_things(options: Options, faults: Faults, load: Load, is_enough: Callable[[], bool]) -> None:
    dice = random.Random(f"when {options.seed}")  # noqa: S311
    over_at = time.monotonic() + (60 * options.minutes if options.minutes is not None else float("inf"))
    news_at = time.monotonic()
    while time.monotonic() < over_at and (options.kills is None or faults.kills < options.kills) and not is_enough():
        await load.pause(dice.expovariate(1 / options.fault_every_s))
        await asyncio.to_thread(faults.throw)
        if time.monotonic() >= news_at:
            news_at += _NEWS_EVERY_S
            unfinished = sum(not told.reports for told in load.told.values())
            _console.print(
                f"{datetime.now(tz=UTC):%H:%M:%S}  {faults.kills} kill -9, {len(faults.done)} faults,"
                f" {len(load.told)} accepted, {unfinished} open"
            )


def _jobs_of(load: Load) -> dict[str, int]:
    instances = sum(len(job.batch.instances) for job in load.jobs.values())
    return {"accepted": len(load.jobs), "instances": instances, "uploads begun again": len(load.interrupted)}


async def _undelivered(site: Site, drain_s: float) -> list[str]:
    """Wait until CMDB has been handed everything, for as long as that goes on; what it has not.

    CMDB goes on failing, so that this may take longer than `drain_s`; without any delivery for so long it is over.
    """
    if site.cmdb is None:
        return []
    before: dict[str, int] = {}
    give_up_at = time.monotonic() + drain_s
    while left := await count_undelivered(site.postgres.url):
        if left != before:
            before, give_up_at = left, time.monotonic() + drain_s
        elif time.monotonic() > give_up_at:
            return [f"not delivered to CMDB: {left}"]
        await asyncio.sleep(_LOOK_S)
    return []


async def _judge_cmdb(site: Site, stored: Stored) -> CmdbJudgement | None:
    if site.cmdb is None:
        return None
    site.cmdb.stop()
    return judge_cmdb(stored.rows, site.cmdb.instances(), await read_known_ids(site.postgres.url))


def _cmdb_of(site: Site, judgement: CmdbJudgement | None) -> dict[str, int]:
    if site.cmdb is None or judgement is None:
        return {}
    counts = {"instances": judgement.instances, "rows lost": judgement.lost, "rows doubled": judgement.doubled}
    return counts | {f"failed: {kind}": count for kind, count in sorted(site.cmdb.failures().items())}


def _left_over(site: Site, drain_s: float) -> list[str]:
    """What Redis still holds although everybody has been answered; repeats may take a moment to be dropped."""
    keys = Keys(Settings().key_prefix)
    give_up_at = time.monotonic() + drain_s
    with redis.Redis.from_url(site.valkey.url) as client:
        while True:
            pending, waiting = int(client.zcard(keys.pending)), int(client.llen(QUEUE_NAME))
            if not pending and not waiting:
                return []
            if time.monotonic() > give_up_at:
                return [f"{pending} requests pending and {waiting} messages waiting, with nobody left to ask for them"]
            time.sleep(_LOOK_S)


def _command(options: Options) -> str:
    words = ["python", "-m", "chaos"]
    words += ["--minutes", f"{options.minutes:g}"] if options.minutes is not None else []
    words += ["--kills", str(options.kills)] if options.kills is not None else []
    words += ["--seed", str(options.seed)]
    defaults = Options()
    for name in ("workers", "appendfsync", "fault_every_s", "per_s"):
        if (value := getattr(options, name)) != getattr(defaults, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--cmdb"] if options.cmdb else []
    return shlex.join(words)
