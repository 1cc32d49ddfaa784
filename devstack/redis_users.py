"""Redis' users as docker-compose.yml has them, which a test holds equal: what is broken here is what is recommended."""

from collections.abc import Iterator, Mapping
from typing import Final

_CONNECTION: Final = "+auth +hello +ping +select +quit +multi +exec +discard +client|setname"
RULES: Final[Mapping[str, str]] = {
    "bksi": "~bksi:* ~service_instance* ~_kombu.* ~unacked* &bksi:* &/0.* +@all -@dangerous -@admin +info +acl|dryrun",
    "flower": (
        f"resetchannels {_CONNECTION} +script|load +script|exists +time "
        "(&/0.celeryev/* +subscribe +psubscribe +unsubscribe +punsubscribe) (&/0.celery.pidbox +publish) "
        "(~celeryev.* ~????????-????-????-????-????????????.reply.celery.pidbox* +llen +exists +del +brpop +pexpire) "
        "(~_kombu.binding.celeryev ~_kombu.binding.*celery.pidbox ~_kombu.binding_permanent.celeryev "
        "~_kombu.binding_permanent.*celery.pidbox ~_kombu.binding_deadlines "
        "+sadd +srem +smembers +zadd +zrem +zrangebyscore +exists +del +evalsha) "
        "(%R~service_instance* %R~celery* +llen)"
    ),
    "sender": (
        f"resetchannels {_CONNECTION} (~service_instance +lpush) (%R~service_instance* +llen) (%R~bksi:result:* +get) "
        "(~_kombu.binding.service_instance ~_kombu.binding_permanent.service_instance +sadd +smembers)"
    ),
}
"""User → what it may do."""
OPERATOR: Final = "operator"
"""Who may do everything, which no container has: whoever breaks things on purpose, and the judge."""


def configuration(password: str) -> Iterator[str]:
    """The lines of a server's configuration file; see `password_of`."""
    from contract.redis.replay import DEFAULT_USER  # noqa: PLC0415 - it brings Celery, and `bksi up` has no such users

    yield DEFAULT_USER
    for user, rules in (*RULES.items(), (OPERATOR, "~* &* +@all")):
        yield f"user {user} on >{password_of(user, password)} {rules}"


def password_of(user: str, password: str) -> str:
    """Each has one of its own, made from the server's."""
    return f"{password}-{user}"
