"""What the pages are made of: texts in both languages, and nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from api_shim.http import pages
from api_shim.http.pages.texts import TEXTS
from contract.answer.job import JobStatus
from contract.answer.status import DeliveryStatus, Outcome

FOLDER = Path(pages.__file__).parent
FILES = [*(FOLDER / "templates").iterdir(), *(FOLDER / "assets").iterdir()]
SHOWN = "".join(file.read_text(encoding="utf-8") for file in FILES)


def test_every_text_that_is_shown_exists_and_no_other() -> None:
    shown = set(re.findall(r'\bt\("([^"]+)"\)', SHOWN)) | {f"delivery {status.value}" for status in DeliveryStatus}
    states = {status.value for status in JobStatus}
    made = {*states, *(f"says {status}" for status in states), *(outcome.value for outcome in Outcome)}
    assert shown | made | {"pending", "running", "cancel", "retry", "no_requests", "no_jobs"} == set(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_is_in_both_languages(name: str) -> None:
    english, chinese = TEXTS[name]
    assert english
    assert chinese
    assert name in ("id", "other_language") or re.search(r"[\u4e00-\u9fff]", chinese)


def test_pages_ask_nothing_of_anybody_else() -> None:
    assert set(re.findall(r"https?://[^\"' ]+", SHOWN)) == {"http://www.w3.org/2000/svg"}
    assert "|safe" not in SHOWN.replace(" ", "")
