"""Print the JSON Schema of the message's kwargs: ``python docs/message_schema.py > docs/message.schema.json``."""

import json
from typing import Any

from pydantic import TypeAdapter

from contract.message import QUEUE_NAME, TASK_NAME, TaskArguments
from contract.request.batch import BatchBody


def schema() -> dict[str, Any]:
    """The schema, with the batch in full."""
    types = [(type_.__name__, "validation", TypeAdapter(type_)) for type_ in (TaskArguments, BatchBody)]
    _, definitions = TypeAdapter.json_schemas(types)
    arguments = definitions["$defs"].pop("TaskArguments")
    arguments["properties"]["batch"] = {
        "description": "The body of POST /v1/batches, without credentials.",
        "anyOf": [{"$ref": "#/$defs/BatchBody"}, {"type": "null"}],
        "default": None,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:bksi:{TASK_NAME}",
        "title": f"kwargs of {TASK_NAME} on queue {QUEUE_NAME}",
        **{key: value for key, value in arguments.items() if key != "title"},
        "$defs": definitions["$defs"],
    }


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))  # noqa: T201 - printing is what it is for
