"""The one place that reads the environment: every setting of every process, frozen at start.

Each field is read from ``BKSI_<NAME>`` (``BKSI_REDIS_URL`` …). Units are in the names: ``_s`` seconds, ``_ms``
milliseconds, ``_days`` days.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from plumbing.urls import (
    RABBITMQ_SCHEMES,
    REDIS_SCHEMES,
    require_broker,
    require_postgres,
    require_readable,
    require_redis,
)

PREFIX: Final = "BKSI_"
"""What every variable's name begins with."""


class SettingsInvalid(SystemExit):
    """A setting cannot be used. The text names its variable and never its value, which may hold a password.

    Whatever process reads it cannot run: unless it is caught, the process ends with the text on standard error.
    """


def _split(value: object) -> object:
    """``a, b`` → ``("a", "b")``."""
    return tuple(filter(None, (item.strip() for item in value.split(",")))) if isinstance(value, str) else value


ServerUrl = Annotated[str, AfterValidator(require_readable)]
RedisUrl = Annotated[ServerUrl, AfterValidator(require_redis)]
PostgresUrl = Annotated[ServerUrl, AfterValidator(require_postgres)]
BrokerUrl = Annotated[ServerUrl, AfterValidator(require_broker)]
OnExisting = Literal["reuse", "fail"]
Mode = Literal["atomic", "partial"]
Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """All settings, with defaults that suit one machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    """The Redis that keeps the pending entries, the reports and (unless `broker_url` is set) the queue."""
    broker_url: BrokerUrl | None = None
    """Celery's broker. ``None``: the same server as `redis_url`, which makes submitting one atomic script."""
    postgres_dsn: PostgresUrl = "postgresql://postgres@127.0.0.1:5432/postgres"
    """libpq URL of the database (worker only); of several hosts, the first that takes writes is used."""
    key_prefix: str = "bksi:"
    """Prefix of all our own Redis keys; the queue keeps its plain Celery name."""

    allow_insecure: bool = False
    """Start although a Redis beyond this machine takes anybody without a password."""

    http_host: str = "127.0.0.1"
    """The address that the server listens at, and a worker's `metrics_port`."""
    http_port: int = 8080
    """The port that the server listens at."""
    keep_alive_s: float = Field(default=75.0, ge=1, le=3600)
    """How long a connection may be idle, and the headers of a request may take. Longer than a proxy in front keeps its
    own (60 s as most come): else it sends into a connection that is just being closed."""
    on_existing: OnExisting = "reuse"
    """What a body without ``on_existing`` means: ``reuse``, or ``fail`` for callers that rely on CMDB's 1113016."""
    mode: Mode = "atomic"
    """What a body without ``mode`` means: ``atomic`` or ``partial``. Compat paths are always atomic."""
    compat_wait_s: float = Field(default=20.0, ge=0, le=60)
    """How long a compat path waits for the worker before it answers 1190001; 0 = never waits."""
    max_wait_s: float = Field(default=20.0, ge=0, le=60)
    """Upper bound of ``Prefer: wait=N``."""
    max_job_bytes: int = Field(default=1024**3, ge=1)
    """The longest body of ``POST /v1/jobs``; it is never in memory as a whole."""
    max_job_batches: int = Field(default=48, ge=1)
    """Unfinished batches of one job, to which its upload is held back. Fewer than `worker_concurrency`, so that a
    worker that has them all in hand has room for what comes behind them. More where there are many workers."""
    max_open_uploads: int = Field(default=100, ge=1)
    """Uploads of jobs that one server process takes at a time; one more is answered 503/1190006."""
    max_pending: int = Field(default=100_000, ge=1)
    """Accepted and unfinished requests; beyond it a submit answers 503/1190006."""
    max_open_waits: int = Field(default=5_000, ge=1)
    """Callers of one server process that are kept waiting; beyond it they are answered at once."""
    max_open_waits_per_app: int = Field(default=1_000, ge=1)
    """The same of one application."""
    redis_timeout_s: float = Field(default=2.0, gt=0)
    """Connect and reply time-out towards Redis: a caller is answered 503 while it is dead, and never kept waiting."""
    apps_file: Path | None = None
    """TOML file of the applications that may call; ``None`` = anonymous, which binds to loopback only."""
    trusted_proxies: Addresses = ()
    """Addresses or networks (``10.0.0.0/8,192.0.2.1``) whose forwarded identity headers are believed."""

    result_ttl_s: int = Field(default=86_400, ge=1)
    """How long an envelope stays in Redis."""
    ledger_days: int = Field(default=30, ge=1)
    """How long PostgreSQL can publish an envelope again; afterwards the answer is 410."""
    idempotency_ttl_s: int = Field(default=86_400, ge=1)
    """How long an ``Idempotency-Key`` is remembered."""

    transport: Literal["guarded", "stock"] = "guarded"
    """`worker.consumer.transport` (batch take, shape guard, liveness recovery) or kombu's own transport."""
    worker_concurrency: int = Field(default=64, ge=1)
    """Requests that a worker process has in hand; small ones that wait together are written together."""
    full_batches_at_once: int = Field(default=4, ge=1)
    """How many of them may be large (over 10 instances): the others are the fast lane of small ones."""
    remote_control: bool = False
    """Whether workers obey Celery's remote control, which is open to whoever can write to the broker."""
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    """Where a worker serves ``/metrics`` for Prometheus; ``None`` = nowhere. Each worker of a machine needs a port of
    its own: one whose port is in use says so and works on without."""
    senders_file: Path | None = None
    """TOML file of services whose direct messages run, if signed; ``None`` = those of all who can write the queue."""
    database_connections: int = Field(default=4, ge=1)
    """The most that one worker process opens, besides one for ending requests while these are busy."""
    owner_ttl_ms: int = Field(default=6_000, ge=500)
    """A worker process that has not extended its leases for this long counts as dead; they are anybody's then."""
    reaper_interval_s: float = Field(default=1.0, gt=0)
    """How often a worker looks for requests whose owner is dead."""
    max_attempts: int = Field(default=3, ge=1)
    """Starts of one request before it ends as a dead letter (1190010)."""
    attempt_timeout_s: float = Field(default=120.0, gt=0)
    """The longest that one start of a request may take; then it is handed back and the start counts."""
    request_deadline_s: float = Field(default=900.0, gt=0)
    """A request that nobody finished this long after it was accepted ends with 1190009."""
    shutdown_grace_s: float = Field(default=20.0, ge=0, le=20)
    """How long a worker that is told to stop works on what it has; the rest goes back to the queue. It ends within half
    a minute whatever happens."""
    watchdog_s: float = Field(default=30.0, ge=0)
    """A worker that hears nothing for this long although the queue is not empty and it has room, or whose event loop
    does not run, ends itself for its supervisor to start another; 0 = never."""
    statement_timeout_ms: int = Field(default=15_000, ge=1)
    """PostgreSQL ends a longer statement. A worker gives up a second later on a server it cannot hear any more."""
    catalogue_check_ms: int = Field(default=500, ge=0)
    """How often a worker compares its cached catalogue with the version in PostgreSQL."""

    read_dsn: PostgresUrl | None = None
    """libpq URL of the database or a replica, with a role that may only read (``bksi read`` only)."""
    read_port: int = 8081
    """Where ``bksi read`` serves, on `http_host`."""
    read_timeout_ms: int = Field(default=5_000, ge=1)
    """PostgreSQL ends a longer read."""
    first_id: int = Field(default=1, ge=1, le=2**53)
    """No service instance or process gets an id below it. Beside a CMDB: far above all that CMDB will ever count to."""
    cmdb_authorization: SecretStr | None = None
    """JSON object of the ``X-Bkapi-Authorization`` header for a live CMDB, to read it and for `deliver`."""
    cmdb_url: ServerUrl | None = None
    """The live CMDB that workers ask about a module or hosts before they refuse a request for not knowing them, and in
    which they create what they create here (`deliver`)."""
    cmdb_supplier_account: str = "0"
    """bk_supplier_account, sent to it as a header."""
    deliver: bool = True
    """Whether what is created here is created in the CMDB of `cmdb_url` as well."""
    answer_after: Literal["rows", "delivery"] = "rows"
    """When a request that is handed on to CMDB has ended: with its rows here, or, with CMDB's ids, once CMDB has them.
    The batches of a job always end with their rows."""
    deliveries_at_once: int = Field(default=4, ge=1)
    """Modules that one worker process hands on to CMDB at once, each over a database connection of its own."""
    cmdb_settle_s: float = Field(default=150.0, ge=0)
    """How long after a call that it did not answer CMDB may go on with it: the 30 s it is waited for, and two minutes,
    the most that its transactions last. What is missing then is created, twice should CMDB be at it still."""
    state_dir: Path = Path("~/.local/state/bksi")
    """Where unfinished work of a command is kept, so that it goes on instead of starting again."""

    failpoints: str = ""
    """Where this process shall die, fail or wait, for fault tests only; see `plumbing.failpoints`."""
    failpoints_dir: Path | None = None
    """Where passages of failpoints are counted, so that a process that is started again does not die for ever."""

    log_level: str = "INFO"
    """What is less than it is not logged; at DEBUG, libraries log what requests hold."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or text for people."""

    @property
    def delivers(self) -> bool:
        """Whether workers hand on to a CMDB what they create."""
        return self.deliver and self.cmdb_url is not None

    @property
    def broker(self) -> str:
        """The broker URL that is in force."""
        return self.broker_url or self.redis_url

    @property
    def redis_servers(self) -> tuple[str, ...]:
        """The URL of each Redis in use: that of the pending entries, and the queue's where that is another one."""
        is_redis = urlsplit(self.broker).scheme in REDIS_SCHEMES
        return (self.redis_url, self.broker) if is_redis and not self.one_redis else (self.redis_url,)

    @property
    def broker_is_rabbitmq(self) -> bool:
        """Whether the queue is on RabbitMQ."""
        return urlsplit(self.broker).scheme in RABBITMQ_SCHEMES

    @property
    def one_redis(self) -> bool:
        """Whether the queue is on the Redis of the pending entries, so that one script can write both."""
        return self.broker == self.redis_url


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the environment once per process; raises as `read_settings` does."""
    return read_settings()


def read_settings(**given: object) -> Settings:
    """The environment's settings, but for those that are `given`.

    Raises:
        SettingsInvalid: a variable holds what it may not.
    """
    try:
        return Settings.model_validate(given)
    except ValidationError as invalid:
        found = "\n".join(
            f"bksi: {PREFIX}{str(error['loc'][0]).upper()}: {error['msg'].removeprefix('Value error, ')}"
            for error in invalid.errors(include_input=False, include_url=False, include_context=False)
        )
    except SettingsError as unreadable:
        found = f"bksi: {unreadable}"
    raise SettingsInvalid(found)
