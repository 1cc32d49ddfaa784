"""The published schema is the code's."""

from docs import message_schema


def test_published_schema_is_up_to_date() -> None:
    assert message_schema.main(["--check"]) == 0, "run: python -m docs.message_schema"
