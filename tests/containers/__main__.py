"""`make test-containers`: build the image, run docker-compose.yml, and use the system in it as an operator would.

It takes the container engine that answers, or as root starts one of its own; base images come from the registry, else
stand-ins are made of Debian (`tests.containers.images`). Where neither can be, it says why and ends with exit code 0.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.containers.engine import NoContainers, engine
from tests.containers.images import prepare


def main(arguments: list[str]) -> int:
    """Run the tests; pytest's exit code, or 0 with a word on stderr."""
    try:
        with engine() as environment:
            variables = environment | prepare(environment)
            return int(pytest.main([str(Path(__file__).parent), f"--containers={json.dumps(variables)}", *arguments]))
    except NoContainers as why:
        sys.stderr.write(f"test-containers skipped: {why}\n")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
