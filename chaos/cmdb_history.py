"""Whether CMDB has what was created here, once, and is known here by its ids.

Pure, as `chaos.history` is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.cmdb.strangers import NAME
from chaos.model import Row


@dataclass(frozen=True)
class CmdbJudgement:
    """`lost` and `doubled` count rows; `wrong` says everything in words, empty is well."""

    instances: int
    lost: int
    doubled: int
    wrong: tuple[str, ...]


def judge_cmdb(
    stored: Iterable[Row], instances: Iterable[Mapping[str, Any]], known_ids: Mapping[Row, int]
) -> CmdbJudgement:
    """Compare what is stored here with what CMDB has.

    Args:
        stored: rows as `chaos.model.Instance.rows` makes them.
        instances: CMDB's, as `list_service_instance_detail` has them.
        known_ids: CMDB's id of an instance, by its natural key, as it is known here.
    """
    wanted = set(stored)
    ours = [instance for instance in instances if instance["creator"] != NAME]
    found: Counter[Row] = Counter(row for instance in ours for row in _rows(instance))
    lost, extra = wanted - found.keys(), found.keys() - wanted
    doubled = [row for row, count in found.items() if count > 1]
    wrong = [f"CMDB lacks {len(lost)} rows, {min(lost, key=str)} among them"] if lost else []
    wrong += [f"CMDB has {len(extra)} rows that are not here, {min(extra, key=str)} among them"] if extra else []
    wrong += [f"CMDB has row {row} {found[row]} times" for row in doubled]
    ids = {_key(instance): instance["id"] for instance in ours}
    wrong += [
        f"CMDB's id of {key} is {ids[key]}, and {known_ids.get(key)} here"
        for key in sorted(ids.keys() & wanted)
        if known_ids.get(key) != ids[key] and key not in doubled
    ]
    return CmdbJudgement(len(ours), len(lost), len(doubled), tuple(wrong))


def _key(instance: Mapping[str, Any]) -> Row:
    name = "" if instance["service_template_id"] else instance["name"]
    return (instance["bk_module_id"], instance["bk_host_id"], name)


def _rows(instance: Mapping[str, Any]) -> Iterator[Row]:
    yield (key := _key(instance))
    for process in (one["process"] for one in instance["process_instances"]):
        yield (*key, process["bk_process_name"])
        for row in process["bind_info"] or ():
            yield (*key, process["bk_process_name"], row["template_row_id"], row["port"])
