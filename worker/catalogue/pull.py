"""Read one business from a live CMDB: templates, modules, hosts and which host is in which module."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from rich.progress import Progress

from worker.catalogue.answers import API_KINDS, Answer, Kind, answer_of
from worker.catalogue.cmdb import Cmdb, CmdbRefused
from worker.catalogue.items import HOST_FIELDS, MODULE_FIELDS
from worker.catalogue.pages import Pages

RELATED_MODULES: Final = 200
"""Module ids that one ``find_module_host_relation`` takes."""
READINGS: Final = 3
"""How often a listing that changes under our hands is read from its start."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """One listing of CMDB. `key` leads to a row's id; `limit` is the largest page allowed, None = all rows at once."""

    name: str
    api: str
    request: Mapping[str, Any]
    key: tuple[str, ...]
    sort: str = ""
    limit: int | None = None

    @property
    def kind(self) -> Kind:
        return API_KINDS[self.api]


class _Moved(Exception):
    """Rows came or went between two pages."""


def pull(cmdb: Cmdb, bk_biz_id: int, pages: Pages, progress: Progress) -> list[Answer]:
    """Read everything the catalogue wants to know of a business.

    Pages that `pages` has are not asked for again. Listings are read in the order of their ids, each page beginning
    with the last row of the one before: when that row is another one, or CMDB counts anew, rows came or went meanwhile,
    and the listing is read again from the start. One that will not hold still is marked `partial`: what it says is
    taken over, but what it does not say is not taken for gone.

    Raises:
        AnswerRefused: CMDB answers something that lists nothing.
        CmdbRefused: CMDB says no, or has no such business.
        CmdbUnavailable: CMDB cannot be reached.
    """
    templates = _read(cmdb, _service_templates(bk_biz_id), pages, progress)
    answers = list(templates)
    template_ids = _ids(templates, "id")
    task = progress.add_task("process templates", total=len(template_ids))
    for service_template_id in template_ids:
        answers += _read(cmdb, _process_templates(bk_biz_id, service_template_id), pages)
        progress.advance(task)
    modules = _read(cmdb, _modules(bk_biz_id), pages, progress)
    answers += modules
    module_ids = _ids(modules, "bk_module_id")
    if not module_ids:
        # Even an empty business has its idle module, so taking this for an empty one would remove all of it.
        raise CmdbRefused(f"CMDB shows no module of business {bk_biz_id}: it does not exist, or may not be read")
    answers += _read(cmdb, _hosts(bk_biz_id), pages, progress)
    for start in range(0, len(module_ids), RELATED_MODULES):
        chunk = module_ids[start : start + RELATED_MODULES]
        answers += _read(cmdb, _relations(bk_biz_id, start // RELATED_MODULES, chunk), pages, progress)
    return answers


def _service_templates(bk_biz_id: int) -> _Listing:
    return _Listing(
        name="service-templates",
        api="list_service_template",
        request={"bk_biz_id": bk_biz_id},
        key=("id",),
        sort="id",
        limit=500,
    )


def _process_templates(bk_biz_id: int, service_template_id: int) -> _Listing:
    return _Listing(
        name=f"process-templates-{service_template_id}",
        api="list_proc_template",
        request={"bk_biz_id": bk_biz_id, "service_template_id": service_template_id},
        key=("id",),
    )


def _modules(bk_biz_id: int) -> _Listing:
    return _Listing(
        name="modules",
        api="find_module_with_relation",
        request={"bk_biz_id": bk_biz_id, "fields": list(MODULE_FIELDS)},
        key=("bk_module_id",),
        sort="bk_module_id",
        limit=500,
    )


def _hosts(bk_biz_id: int) -> _Listing:
    return _Listing(
        name="hosts",
        api="list_biz_hosts",
        request={"bk_biz_id": bk_biz_id, "fields": list(HOST_FIELDS)},
        key=("bk_host_id",),
        sort="bk_host_id",
        limit=500,
    )


def _relations(bk_biz_id: int, number: int, module_ids: Sequence[int]) -> _Listing:
    return _Listing(
        name=f"relations-{number}",
        api="find_module_host_relation",
        request={
            "bk_biz_id": bk_biz_id,
            "bk_module_ids": list(module_ids),
            "module_fields": ["bk_module_id", "bk_set_id"],
            "host_fields": ["bk_host_id"],
        },
        key=("host", "bk_host_id"),
        limit=1000,  # sorted by host id without being asked
    )


def _ids(answers: Sequence[Answer], name: str) -> list[int]:
    return sorted({id_ for answer in answers for item in answer.objects if type(id_ := item.get(name)) is int})


def _read(cmdb: Cmdb, listing: _Listing, pages: Pages, progress: Progress | None = None) -> list[Answer]:
    label = listing.name.replace("-", " ")
    task = progress.add_task(label, total=None) if progress else None
    for reading in range(1, READINGS + 1):
        answers: list[Answer] = []
        try:
            for answer in _pages(cmdb, listing, pages, must_hold_still=reading < READINGS):
                answers.append(answer)
                if progress and task is not None:
                    rows = sum(len(answer.items) for answer in answers)
                    progress.update(task, total=max(answer.count or 0, rows), completed=rows)
        except _Moved:
            pages.discard(f"{listing.name}.")
            continue
        if reading < READINGS:
            return answers
    return [replace(answer, partial=f"{label} changed {READINGS} times while they were read") for answer in answers]


def _pages(cmdb: Cmdb, listing: _Listing, pages: Pages, *, must_hold_still: bool) -> Iterator[Answer]:
    """Yield what each page brings that the one before did not."""
    first = _page(cmdb, listing, pages, 0, read=0)
    yield first
    page, read = first, len(first.items)
    for number in count(1):
        if listing.limit is None or not page.items or _is_last(page, listing.limit, read):
            return
        last = _key(listing, page.items[-1])
        page = _page(cmdb, listing, pages, number, read=read)
        overlaps = bool(page.items) and _key(listing, page.items[0]) == last
        if must_hold_still and not (overlaps and page.count == first.count):
            raise _Moved
        new = page.items[1:] if overlaps else page.items
        read += len(new)
        yield replace(page, items=new)
        if not new:
            return


def _is_last(page: Answer, limit: int, read: int) -> bool:
    return len(page.items) < limit if page.count is None else read >= page.count


def _page(cmdb: Cmdb, listing: _Listing, pages: Pages, number: int, *, read: int) -> Answer:
    """Return page `number`; of the `read` rows before it, it repeats the last."""
    request = dict(listing.request)
    if listing.limit is not None:
        sort = {"sort": listing.sort} if listing.sort else {}
        request["page"] = {"start": max(read - 1, 0), "limit": listing.limit, **sort}
    name = f"{listing.name}.{number:06}"
    source = f"{listing.api} from row {read}"
    kept = pages.load(name)
    if kept is not None and kept.get("request") == request:
        return answer_of(kept, source, listing.kind)
    document = {**cmdb.call(listing.api, request), "kind": listing.kind.value, "request": request}
    answer = answer_of(document, source, listing.kind)
    pages.save(name, document)
    return answer


def _key(listing: _Listing, item: Any) -> Any:
    for name in listing.key:
        item = item.get(name) if isinstance(item, dict) else None
    return item
