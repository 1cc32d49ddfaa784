"""A worker's deliveries in this process: requests are written, and carried to a CMDB of our own making."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.report import Report
from contract.answer.status import DeliveryStatus, Item, JobPart
from contract.message import make_celery
from contract.queue import Queue
from contract.redis.connection import connect
from contract.settings import Settings
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from tests.integration.worker.postgres.plans import bind, plan, process, request
from tests.unit.worker.catalogue.cmdb_items import host, module, process_template, service_template
from worker.catalogue.cmdb import Cmdb
from worker.custody.leases import Leases
from worker.custody.queue import WorkerQueue
from worker.delivery.bridge import Bridge
from worker.delivery.deliverer import Deliverer
from worker.expand.plan import PlannedProcess
from worker.postgres.deliveries import retry
from worker.postgres.engine import create_engine, driver_connection
from worker.postgres.writer import Writer

BOUND, UNBOUND = 60, 61


def nginx(*rows: int, **values: Any) -> PlannedProcess:
    """The one process of the CMDB's template."""
    names = {"bk_process_name": "nginx", "bk_func_name": "nginx", "timeout": None, "bk_start_param_regex": None}
    made = process(7, map(bind, rows), **names | values)
    return PlannedProcess(7, {name: values.get(name) if name not in names else value
                              for name, value in made.values.items()}, made.bind_info)  # fmt: skip


def free(number: int, *rows: int, **values: Any) -> PlannedProcess:
    """A process of the module without template, with values that CMDB keeps."""
    made = process(number, map(bind, rows), bound=False, **values)
    kept = made.values | {"auto_time_gap": None, "bk_func_id": None}
    return PlannedProcess(0, kept, made.bind_info)


class Side:
    """Writes requests as a worker does, and carries them."""

    def __init__(self, dsn: str, redis_url: str, cmdb: CmdbServer, **settings: Any) -> None:
        fast = {"cmdb_settle_s": 0.3, "owner_ttl_ms": 1000} | settings
        self.settings = Settings(postgres_dsn=dsn, redis_url=redis_url, cmdb_url=cmdb.url, **fast)
        self.cmdb = cmdb
        self.engine: AsyncEngine = create_engine(dsn)
        self.writer = Writer(self.engine)
        self._client = connect(self.settings)
        self.leases = Leases(self._client, self.settings)
        celery = make_celery(self.settings)
        queue = WorkerQueue(self.leases, Queue(celery, self.settings))
        self._give_up_after_s = 5.0
        bridge = Bridge(lambda: Cmdb(cmdb.url, timeout_s=5, give_up_after_s=self._give_up_after_s))
        self.deliverer = Deliverer(create_engine(dsn), bridge, self.leases, queue, self.settings)

    def bridge_gives_up_after(self, seconds: float) -> None:
        """A look that is refused for the moment is not repeated for longer."""
        self._give_up_after_s = seconds

    async def write(
        self,
        *hosts: int,
        module: int = BOUND,
        keys: Sequence[str] | None = None,
        processes: Sequence[PlannedProcess] | None = None,
        answer_after: Literal["rows", "delivery"] = "rows",
        job: JobPart | None = None,
        **changes: Any,
    ) -> str:
        """Write and publish a request; its id."""
        made = processes or ([free(1, 1)] if module == UNBOUND else [nginx()])
        asked = request(plan(hosts, made, module=module, template=5, keys=keys), **changes)
        settled = asked.build_report

        def build_report(items: Sequence[Item]) -> Report:
            return settled(items).model_copy(update={"job": job}).to_deliver(is_awaited=answer_after == "delivery")

        object.__setattr__(asked, "build_report", build_report)
        report = (await self.writer.write(asked)).report
        assert report is not None
        await self.leases.publish(report)
        return asked.request_id

    async def clone(self, *hosts: int, name: str) -> str:
        """Second instances of a name on its hosts."""
        return await self.write(*hosts, module=UNBOUND, keys=[f"clone {name} {host}" for host in hosts])

    async def deliver(self, request_id: str) -> Report:
        """Carry it; the report that its caller sees."""
        await self.deliverer.deliver(request_id)
        report = await self.leases.load(request_id)
        assert report is not None
        return report

    async def ends(self, *request_ids: str) -> list[DeliveryStatus | None]:
        """What their callers see of their deliveries."""
        reports = [await self.leases.load(id_) for id_ in request_ids]
        return [report and report.delivery for report in reports]

    async def hurry(self, request_id: str) -> None:
        """Let what was put off be due."""
        async with driver_connection(self.engine) as driver:
            await driver.execute("UPDATE delivery SET due_at = now() WHERE request_id = $1", request_id)

    async def retry(self, request_id: str) -> bool:
        async with driver_connection(self.engine) as driver:
            return await retry(driver, request_id)

    async def rows(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async with driver_connection(self.engine) as driver:
            return [tuple(row) for row in await driver.fetch(statement, *arguments)]

    async def close(self) -> None:
        await self.deliverer.close()
        await self._client.aclose()
        await self.engine.dispose()

    def created(self) -> list[Any]:
        """The bodies of the calls that have created instances, or tried to."""
        return [call.body for call in self.cmdb.calls if call.api == "create_service_instance"]


@pytest.fixture
def cmdb() -> Iterator[CmdbServer]:
    """A CMDB with a bound module 60 and an unbound one 61, ten hosts in each, and ids from 1000 on."""
    with CmdbServer(first_id=1000, hold_s=0.1).serving() as server:
        server.service_templates = [service_template(5)]
        server.process_templates = [process_template(7, 5)]
        server.modules = [module(BOUND), module(UNBOUND, service_template_id=0)]
        server.hosts = [host(id_, f"10.0.0.{id_}") for id_ in range(1, 11)]
        server.hosts_of = {id_: list(range(1, 11)) for id_ in (BOUND, UNBOUND)}
        yield server


@pytest.fixture
async def side(
    anyio_backend: str, database: str, redis_url: str, redis: object, cmdb: CmdbServer
) -> AsyncIterator[Side]:
    opened = Side(database, redis_url, cmdb)
    yield opened
    await opened.close()
