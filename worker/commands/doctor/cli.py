"""`bksi doctor`, the command."""

from typing import Annotated

from cyclopts import Parameter


def doctor(
    *,
    flower: Annotated[str | None, Parameter(env_var="BKSI_FLOWER_URL")] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Look at Redis, PostgreSQL, workers, Flower and the settings of this process, and say how to mend what is wrong.

    Run it where a worker runs, with the worker's environment. It prints no secret and changes nothing; to see
    whether Redis takes a write it leaves a key there for ten seconds.

    Exit code: 0 when there is no error (warnings may be left), 1 otherwise.

    Args:
        flower: Flower's address, to see whether it asks for a login.
        json: Print plain JSON.
    """
    from worker.commands.doctor.examine import run  # noqa: PLC0415 - see worker.cli

    return run(flower=flower, as_json=json)
