"""The published schema is the code's, and it accepts what the documentation shows."""

import json
import runpy
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_published_schema_is_up_to_date() -> None:
    schema = runpy.run_path(str(DOCS / "message_schema.py"))["schema"]()

    assert json.loads((DOCS / "message.schema.json").read_text()) == schema, (
        "run: python docs/message_schema.py > docs/message.schema.json"
    )
