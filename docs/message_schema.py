"""Write docs/message.schema.json, the JSON Schema of the message's kwargs.

python -m docs.message_schema          # write it
python -m docs.message_schema --check  # exit 1 when it is out of date
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from contract.message import QUEUE_NAME, TASK_NAME, TaskArguments
from contract.request.batch import BatchBody
from docs.generated_page import write_or_check

PAGE: Final = Path(__file__).with_name("message.schema.json")


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


def main(arguments: list[str]) -> int:
    """Write the schema, or compare it."""
    return write_or_check(PAGE, json.dumps(schema(), indent=2) + "\n", arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
