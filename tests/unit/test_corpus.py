"""What was recorded of earlier code is what today's code does."""

import json
from pathlib import Path
from typing import Any

import pytest

from contract.message import Payload
from contract.request.parse import BatchRefused, parse
from tests.corpus import answer, recorded
from tests.unit.contract.request.test_batch import backwards

ENTRIES = Path(__file__).parents[1] / "data" / "pending-entries-7e956a3.jsonl"


def test_every_recorded_request_is_answered_as_it_was() -> None:
    """Refusals and warnings, pending entry, the report's bytes, and the rows of new and of half-created instances."""
    corpus = recorded()
    assert len(corpus) > 300
    for one in corpus:
        said = json.loads(json.dumps(answer(one["asked"])))
        assert _in_any_order(said) == _in_any_order(one["said"]), one["asked"]["body"]


def _in_any_order(said: dict[str, Any]) -> dict[str, Any]:
    """A table's rows are a set: how they were grouped on their way says nothing."""
    for drafted in (said[name] for name in ("new", "known") if name in said):
        drafted["rows"] = [
            sorted((group for group in table if group[1]), key=lambda group: json.dumps(group, sort_keys=True))
            for table in drafted["rows"]
        ]
    return said


def _digest(body: object) -> str | None:
    try:
        return parse(body).batch.digest()
    except BatchRefused:
        return None


def test_digest_does_not_depend_on_how_a_request_is_written() -> None:
    """Requests of other meanings have other digests, and those of one meaning the same."""
    by_meaning: dict[str, set[str | None]] = {}
    for one in recorded():
        body, said = one["asked"]["body"], one["said"]
        digest = _digest(body)
        assert _digest(backwards(body)) == digest
        assert _digest(json.loads(json.dumps(body, indent=3))) == digest
        if "payload" in said and not one["asked"]["strict"]:
            by_meaning.setdefault(_meaning(said["payload"]["batch"]), set()).add(digest)
    assert all(len(digests) == 1 for digests in by_meaning.values())
    assert len(set.union(*by_meaning.values())) == len(by_meaning)


def _meaning(batch: dict[str, Any]) -> str:
    """By the words of CMDB: template 0 is none, an empty name is none, no rows are none."""

    def process(given: dict[str, Any]) -> list[Any]:
        info = given.get("process_info")
        if info is not None:
            info = {name: value for name, value in info.items() if name != "bind_info" or value}
        return [given.get("process_template_id", 0), info]

    instances = [[host, name or None, list(map(process, asked or []))] for host, name, asked in batch["instances"]]
    return json.dumps({**batch, "instances": instances}, sort_keys=True)


@pytest.mark.parametrize("stored", ENTRIES.read_bytes().splitlines())
def test_pending_entry_of_an_earlier_version_is_read(stored: bytes) -> None:
    """They were written by commit 7e956a3."""
    payload, values = Payload.load(stored), json.loads(stored)
    assert payload == Payload.check(stored)
    again = json.loads(Payload.write(*_fields(payload)))
    assert again["batch"] == {"on_existing": "reuse", "mode": "atomic", "strict": False, **values["batch"]}
    assert again | {"batch": None} == values | {"batch": None}


def _fields(payload: Payload) -> tuple[Any, ...]:
    return payload.request_id, payload.batch, payload.caller, payload.warnings, payload.kind
