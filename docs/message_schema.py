"""Print the JSON Schema of the message's kwargs: ``python docs/message_schema.py > docs/message.schema.json``."""

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from contract.message import QUEUE_NAME, TASK_NAME, TaskArguments
from contract.request.batch import ServiceInstanceBatch


def schema() -> dict[str, Any]:
    """The schema, with the batch in full."""
    _, definitions = models_json_schema([(TaskArguments, "validation"), (ServiceInstanceBatch, "validation")])
    arguments = definitions["$defs"].pop("TaskArguments")
    arguments["properties"]["batch"] = {
        "description": "The body of POST /v1/batches, without credentials.",
        "anyOf": [{"$ref": "#/$defs/ServiceInstanceBatch"}, {"type": "null"}],
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
