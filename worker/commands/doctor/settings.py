"""Settings that contradict each other, or are for tests only. Pure: nothing is asked."""

from collections.abc import Iterator
from typing import Final

from contract.message import make_celery
from contract.settings import Settings
from plumbing.toml_file import TomlFileInvalid
from plumbing.urls import is_local
from worker.commands.doctor.finding import Finding, error, ok, warning
from worker.senders import Senders

_TRANSACTION_S: Final = 120


def examine_settings(settings: Settings) -> Iterator[Finding]:
    """Look at the settings of this process; every process of the system should be given the same."""
    yield from _time_limits(settings)
    yield _visibility(settings)
    if settings.failpoints:
        yield error("failpoints", "BKSI_FAILPOINTS is set", "Unset it: it makes processes die on purpose.")
    if settings.allow_insecure:
        yield warning(
            "insecure start", "BKSI_ALLOW_INSECURE is set", "Give every Redis a password, then unset the variable."
        )
    if settings.remote_control:
        yield warning(
            "remote control",
            "Celery's remote control is on: whoever can write to the broker can stop workers",
            "Unset BKSI_REMOTE_CONTROL, unless operators need it and the broker's users are separated.",
        )
    else:
        yield ok("remote control", "off")
    yield _direct_messages(settings)
    if settings.log_level.upper() in ("DEBUG", "NOTSET"):
        yield warning("log level", settings.log_level, "Use INFO: at DEBUG, libraries log what requests hold.")
    if settings.delivers and settings.cmdb_settle_s < _TRANSACTION_S:
        yield warning(
            "delivery",
            f"BKSI_CMDB_SETTLE_S is {settings.cmdb_settle_s:g}, and CMDB's transactions may last {_TRANSACTION_S} s",
            "Set it to 150: what CMDB ends later than that is created twice in modules without a service template.",
        )
    if not settings.watchdog_s:
        yield warning(
            "watchdog", "BKSI_WATCHDOG_S is 0", "Set it to 30: else a worker that hears nothing stays as it is."
        )


def _time_limits(settings: Settings) -> Iterator[Finding]:
    """Each limit must leave room for what happens within it."""
    owner_s, statement_s = settings.owner_ttl_ms / 1000, settings.statement_timeout_ms / 1000
    rules = (
        (
            2 * settings.redis_timeout_s < owner_s,
            f"BKSI_OWNER_TTL_MS ({owner_s:g} s) is not twice BKSI_REDIS_TIMEOUT_S ({settings.redis_timeout_s:g} s)",
            "Raise BKSI_OWNER_TTL_MS: one slow answer of Redis would make live workers lose their leases.",
        ),
        (
            statement_s < settings.attempt_timeout_s,
            (
                f"BKSI_STATEMENT_TIMEOUT_MS ({statement_s:g} s) is not below BKSI_ATTEMPT_TIMEOUT_S"
                f" ({settings.attempt_timeout_s:g} s)"
            ),
            "Lower the first: an attempt must outlive its statement to see how that ended.",
        ),
        (
            settings.attempt_timeout_s < settings.request_deadline_s,
            (
                f"BKSI_ATTEMPT_TIMEOUT_S ({settings.attempt_timeout_s:g} s) is not below BKSI_REQUEST_DEADLINE_S"
                f" ({settings.request_deadline_s:g} s)"
            ),
            "Raise the second: a request would end before its first attempt has.",
        ),
        (
            settings.request_deadline_s < min(settings.result_ttl_s, settings.idempotency_ttl_s),
            (
                f"BKSI_REQUEST_DEADLINE_S ({settings.request_deadline_s:g} s) is not below BKSI_RESULT_TTL_S and"
                " BKSI_IDEMPOTENCY_TTL_S"
            ),
            "Raise those: the key of a request that still runs would be forgotten, and a repeat run it twice.",
        ),
    )
    broken = [error("time limits", found, mend) for holds, found, mend in rules if not holds]
    yield from broken or [ok("time limits", "Redis < lease < statement < attempt < deadline < kept")]


def _visibility(settings: Settings) -> Finding:
    options = make_celery(settings).conf.broker_transport_options
    visibility_s = options.get("visibility_timeout")
    if visibility_s is None:
        return ok("visibility", "a message comes back when its worker's connection ends (AMQP)")
    if settings.transport == "guarded":
        seconds = settings.owner_ttl_ms / 1000
        return ok("visibility", f"a dead worker's messages come back after {1.25 * seconds:g} to {2.5 * seconds:g} s")
    if visibility_s <= settings.attempt_timeout_s:
        return error(
            "visibility",
            f"messages come back after {visibility_s:g} s, and an attempt may take {settings.attempt_timeout_s:g} s",
            f"Set BKSI_ATTEMPT_TIMEOUT_S below {visibility_s:g}, or BKSI_TRANSPORT=guarded.",
        )
    return warning(
        "visibility",
        f"with kombu's own transport, a dead worker's messages come back after {visibility_s:g} s",
        "Set BKSI_TRANSPORT=guarded: ten seconds, and none is lost between taking and recording it.",
    )


def _direct_messages(settings: Settings) -> Finding:
    path = settings.senders_file
    if path is None:
        taken = "a message that brings its own batch is run, whoever sent it"
        if all(map(is_local, settings.redis_servers)):
            return ok("direct messages", taken)
        return warning(
            "direct messages",
            taken,
            "Set BKSI_SENDERS_FILE (an empty list of senders refuses all), and let servers and workers alone write.",
        )
    try:
        senders = Senders.load(path).senders
    except TomlFileInvalid as failure:
        return error("direct messages", str(failure), "Correct the file: no worker starts with it.")
    if senders and path.stat().st_mode & 0o077:
        return warning("direct messages", f"others can read {path}", f"chmod 600 {path}: it holds keys.")
    return ok("direct messages", f"run only when one of {len(senders)} senders has signed them")
