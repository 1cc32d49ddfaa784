"""The pages of an unfinished pull on disk."""

import os
import time
from pathlib import Path

import pytest

from worker.catalogue.pages import MAX_AGE_S, Pages, PagesOfAnother

OWNER = {"url": "http://cmdb", "bk_biz_id": 1}


def test_page_is_there_for_the_next_run(tmp_path: Path) -> None:
    Pages(tmp_path / "state", OWNER).save("hosts.000000", {"data": ["主机"]})
    pages = Pages(tmp_path / "state", OWNER)
    assert pages.load("hosts.000000") == {"data": ["主机"]}
    assert (pages.load("hosts.000001"), pages.count) == (None, 1)


def test_old_pages_are_forgotten(tmp_path: Path) -> None:
    pages = Pages(tmp_path, OWNER)
    pages.save("hosts.000000", {})
    pages.save("hosts.000001", {})
    old = time.time() - MAX_AGE_S - 60
    os.utime(tmp_path / "page-hosts.000000.json", (old, old))
    assert Pages(tmp_path, OWNER).count == 0


def test_half_a_page_is_no_page(tmp_path: Path) -> None:
    pages = Pages(tmp_path, OWNER)
    pages.save("hosts.000000", {"data": []})
    (tmp_path / "page-hosts.000000.json").write_text('{"data": [')
    assert pages.load("hosts.000000") is None


def test_discard_forgets_one_listing(tmp_path: Path) -> None:
    pages = Pages(tmp_path, OWNER)
    for name in ("relations-1.000000", "relations-1.000001", "relations-10.000000"):
        pages.save(name, {})
    pages.discard("relations-1.")
    assert (pages.count, pages.load("relations-10.000000")) == (1, {})


def test_clear_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "state", OWNER)
    pages.save("hosts.000000", {})
    (tmp_path / "state" / "notes.txt").write_text("mine")
    pages.clear()
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["notes.txt"]
    (tmp_path / "state" / "notes.txt").unlink()
    Pages(tmp_path / "state", OWNER).clear()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("file", ["notes.txt", "page-hosts.000000.json"])
def test_directory_of_something_else_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(PagesOfAnother, match="not empty"):
        Pages(tmp_path, OWNER)


def test_pages_of_another_pull_are_refused(tmp_path: Path) -> None:
    Pages(tmp_path, OWNER)
    with pytest.raises(PagesOfAnother, match="http://cmdb"):
        Pages(tmp_path, {**OWNER, "bk_biz_id": 2})


def test_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    Pages(tmp_path / "state", OWNER)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
