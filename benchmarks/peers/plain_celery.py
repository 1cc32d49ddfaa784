"""Celery as its documentation begins: prefork, JSON, Redis as broker and result backend, the SQLAlchemy ORM.

Two processes, each with a session that adds one object per row. Sync throughout, but for the reading of the catalogue
and the rules, which are the project's. It writes neither ledger nor audit record.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import orjson
from celery import Celery
from celery.signals import worker_process_init
from sqlalchemy import BigInteger, Sequence, create_engine
from sqlalchemy.ext.declarative import DeferredReflection
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

from benchmarks.peers.answers import listening
from benchmarks.peers.job import GroupedJob, open_job
from benchmarks.peers.queue_client import QueueClient
from contract.request.parse import parse
from worker.expand.plan import Plan, PlannedInstance

_REDIS: Final = os.environ["BENCH_REDIS_URL"]
_RESULTS: Final = "celery-task-meta-"
app = Celery("plain", broker=_REDIS, backend=_REDIS)
app.conf.update(task_serializer="json", result_serializer="json", accept_content=["json"], result_expires=86_400)


class Base(DeclarativeBase):
    """The models read their columns from the database."""


class Reflected(DeferredReflection, Base):
    """A model whose table exists."""

    __abstract__ = True


class ServiceInstance(Reflected):
    """A service instance."""

    __tablename__ = "service_instance"
    id: Mapped[int] = mapped_column(BigInteger, Sequence("service_instance_id_block"), primary_key=True)
    processes: Mapped[list["Process"]] = relationship()


class Process(Reflected):
    """A process of an instance."""

    __tablename__ = "process"
    bk_process_id: Mapped[int] = mapped_column(BigInteger, Sequence("bk_process_id_block"), primary_key=True)
    bind_rows: Mapped[list["BindRow"]] = relationship()


class BindRow(Reflected):
    """A bind row of a process."""

    __tablename__ = "process_bind_info"


class _Worker:
    """What a worker process has, made after the fork."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.job = self.runner.run(self.stack.enter_async_context(open_job()))
        dsn = os.environ["BENCH_POSTGRES_DSN"].replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(dsn, pool_size=1)
        Reflected.prepare(engine)
        self.sessions: sessionmaker[Session] = sessionmaker(engine)


_state: dict[str, _Worker] = {}


@worker_process_init.connect
def _start(**_: Any) -> None:
    _state["worker"] = _Worker()


@app.task(name="create_batch")
def create_batch(request_id: str, batch: dict[str, Any]) -> dict[str, Any]:
    """The task."""
    worker = _state["worker"]
    plan = worker.runner.run(_plan(worker.job, request_id, batch))
    with worker.sessions() as session:
        instances = [_instance(plan, planned, request_id) for planned in plan.instances]
        for instance in instances:
            session.add(instance)
        session.flush()
        ids = [instance.id for instance in instances]
        session.commit()
    return {"result": True, "code": 0, "message": "", "permission": None, "request_id": request_id, "data": ids}


async def _plan(job: GroupedJob, request_id: str, batch: dict[str, Any]) -> Plan:
    return await job.plan(request_id, parse(batch).batch)


def _instance(plan: Plan, planned: PlannedInstance, request_id: str) -> ServiceInstance:
    instance = ServiceInstance(
        bk_biz_id=plan.bk_biz_id,
        bk_module_id=plan.bk_module_id,
        bk_host_id=planned.bk_host_id,
        instance_key=planned.instance_key,
        service_template_id=plan.service_template_id,
        name=planned.name,
        creator="benchmark",
        modifier="benchmark",
        bk_supplier_account="0",
        request_id=request_id,
    )
    for made in planned.processes:
        process = Process(
            bk_biz_id=plan.bk_biz_id,
            bk_host_id=planned.bk_host_id,
            process_template_id=made.process_template_id,
            bk_created_by="benchmark",
            bk_supplier_account="0",
            **made.values,
        )
        for bind in made.bind_info:
            process.bind_rows.append(BindRow(bk_host_id=planned.bk_host_id, **bind._asdict()))
        instance.processes.append(process)
    return instance


def _read(_: str, message: bytes) -> bytes:
    meta = orjson.loads(message)
    failed = {"result": False, "message": str(meta["result"])}
    return orjson.dumps(meta["result"] if meta["status"] == "SUCCESS" else failed)


@asynccontextmanager
async def client() -> AsyncIterator[QueueClient]:
    """Sends with ``apply_async``, and is woken as Celery's own result consumer is: by what the backend publishes."""
    # Celery's publishing is sync, and one connection serves one thread at a time.
    thread = ThreadPoolExecutor(1)

    async def enqueue(request_id: str, batch: dict[str, Any]) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, _send, request_id, batch)

    async with listening(_RESULTS, _read) as answers:
        yield QueueClient(enqueue, answers)


def _send(request_id: str, batch: dict[str, Any]) -> None:
    create_batch.apply_async((request_id, batch), task_id=request_id)
