"""The names of our Redis keys, in one place so that the sides cannot drift."""

import hashlib
from dataclasses import dataclass
from typing import Final

MAX_DEAD_LETTERS: Final = 10_000
"""How many dead letters are kept; the oldest go first."""
MAX_PARKED: Final = 10_000
"""How many messages wait beside the queue for a newer worker; what comes then is a dead letter."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix."""

    prefix: str

    def request(self, request_id: str) -> str:
        """Hash: the pending entry of an unfinished request. Its fields are listed in `contract.redis.records`."""
        return f"{self.prefix}req:{request_id}"

    def result(self, request_id: str) -> str:
        """String: the stored report of a finished request, with a TTL."""
        return f"{self.prefix}result:{request_id}"

    def kept(self, request_id: str) -> str:
        """String with the report's TTL: the payload of a request that failed."""
        return f"{self.prefix}kept:{request_id}"

    def job(self, job_id: str) -> str:
        """Hash: how a job stands. Its fields are listed in `contract.redis.jobs`."""
        return f"{self.prefix}job:{job_id}"

    def job_batches(self, job_id: str) -> str:
        """List: the request ids of a job's batches, in the order of its instances."""
        return f"{self.prefix}jobbatches:{job_id}"

    def job_failed(self, job_id: str) -> str:
        """Sorted set: the request ids of a job's batches that ended without success, scored by their numbers."""
        return f"{self.prefix}jobfailed:{job_id}"

    def jobs_of_app(self, bk_app_code: str) -> str:
        """Sorted set: an application's recent job ids, scored by the time their first upload began (ms)."""
        return f"{self.prefix}jobs:{bk_app_code}"

    def idempotency(self, bk_app_code: str, idempotency_key: str) -> str:
        """String ``request_id|digest`` with a TTL. Hashed: a caller's key never becomes part of a key's name."""
        name = hashlib.sha256(f"{bk_app_code}\0{idempotency_key}".encode()).hexdigest()
        return f"{self.prefix}idem:{name}"

    def nonce(self, bk_app_code: str, nonce: str) -> str:
        """String with a short TTL: this application has used this nonce. Hashed, as an idempotency key is."""
        name = hashlib.sha256(f"{bk_app_code}\0{nonce}".encode()).hexdigest()
        return f"{self.prefix}nonce:{name}"

    def of_app(self, bk_app_code: str) -> str:
        """Sorted set: an application's recent request ids, scored by the time they were accepted (ms)."""
        return f"{self.prefix}app:{bk_app_code}"

    def asked(self, request_id: str) -> str:
        """String with a short TTL: a worker has been asked to look this id up in PostgreSQL."""
        return f"{self.prefix}asked:{request_id}"

    def unknown(self, request_id: str) -> str:
        """String with a short TTL: PostgreSQL was asked and cannot give the report; see `contract.redis.records`."""
        return f"{self.prefix}unknown:{request_id}"

    def unseen(self, bk_app_code: str, request_id: str) -> str:
        """String with a short TTL: to this application the request is unknown, for it is another's. Hashed."""
        name = hashlib.sha256(f"{bk_app_code}\0{request_id}".encode()).hexdigest()
        return f"{self.prefix}unseen:{name}"

    def failed_takes(self, request_id: str) -> str:
        """Counter with a TTL: how often a worker failed on a message before it had a lease, by the message's doing."""
        return f"{self.prefix}failed_takes:{request_id}"

    def unacked(self, consumer: str) -> str:
        """Hash: the messages that a consumer of the guarded transport has taken and not acknowledged."""
        return f"{self.prefix}unacked:{consumer}"

    def inbox(self, consumer: str) -> str:
        """List: the message Redis moved to a waiting consumer of the guarded transport."""
        return f"{self.prefix}inbox:{consumer}"

    def misfit(self, number: str) -> str:
        """Any type, with a TTL: what stood where a queue's list belongs; a dead letter names it."""
        return f"{self.prefix}misfit:{number}"

    @property
    def consumers(self) -> str:
        """Sorted set: consumers of the guarded transport, by when they count as dead (ms, Redis' clock)."""
        return f"{self.prefix}consumers"

    @property
    def pending(self) -> str:
        """Sorted set: unfinished request ids, scored by the time of their last push (ms, Redis' clock)."""
        return f"{self.prefix}pending"

    @property
    def workers(self) -> str:
        """Sorted set: worker process names by their last sign of life (ms)."""
        return f"{self.prefix}workers"

    @property
    def paused(self) -> str:
        """Hash: worker process names that take no requests, each with the reason. Those that live count."""
        return f"{self.prefix}paused"

    @property
    def dead_letters(self) -> str:
        """List: messages and requests that were set aside, newest first."""
        return f"{self.prefix}dead"

    @property
    def parked(self) -> str:
        """List: messages for a newer version of a task, the oldest last; see ``worker/consumer/transport/park.lua``."""
        return f"{self.prefix}parked"

    @property
    def probe(self) -> str:
        """String with a short TTL: somebody has just tried whether this Redis takes a write."""
        return f"{self.prefix}probe"

    @property
    def finished_count(self) -> str:
        """Counter of finished requests, from which a submitter measures the drain rate."""
        return f"{self.prefix}finished"

    @property
    def done_channel(self) -> str:
        """Pub/sub channel that carries every finished request_id; those that end together are one message."""
        return f"{self.prefix}done"
