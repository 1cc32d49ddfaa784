"""`bksi dlq …`: what was set aside, to look at, to send again, or to drop."""

from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

app = App(
    name="dlq",
    help="Dead letters: messages that no task may see, and requests that were given up after too many starts.",
    default_parameter=Parameter(negative=()),
)

Ids = Annotated[str, Parameter(name="ID", required=True)]


@app.command
def ls(
    *,
    kind: Literal["message", "request"] | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 50,
    json: bool = False,
) -> int:
    """List them, newest first.

    Args:
        kind: Only those of this kind.
        limit: How many at most.
        json: Print one JSON object: `total`, and `letters` without what they hold.
    """
    from worker.commands.dead_letters.commands import list_letters  # noqa: PLC0415 - see worker.cli

    return list_letters(kind, limit=limit, json=json)


@app.command
def show(id_: Annotated[str, Parameter(name="ID")], /, *, raw: bool = False, json: bool = False) -> int:
    """Show one: why it was set aside, and what is known of it.

    Exit code: 1 when there is none with this id.

    Args:
        id_: A letter's id, as `ls` prints it; a request's is its request_id.
        raw: Print the message, or what the request asked for, byte for byte, and nothing else. It may hold secrets.
        json: Print it as JSON.
    """
    from worker.commands.dead_letters.commands import show_letter  # noqa: PLC0415 - see worker.cli

    return show_letter(id_, raw=raw, json=json)


@app.command
def requeue(*ids: Ids, json: bool = False) -> int:
    """Send some again, once what set them aside is mended.

    A request starts anew under its own request_id: attempts and deadline begin again, and whoever polls it is told that
    it waits. It needs BKSI_POSTGRES_DSN. A message goes back behind what waits in the list it came from; if it is
    still unfit, it will be set aside once more.

    Exit code: 1 when one of them could not be sent.

    Args:
        ids: As `ls` prints them.
        json: Print what became of each as JSON.
    """
    from worker.commands.dead_letters.commands import requeue_letters  # noqa: PLC0415 - see worker.cli

    return requeue_letters(ids, json=json)


@app.command
def drop(*ids: Ids, json: bool = False) -> int:
    """Forget some, with what they hold. The answer of a request stays what it is.

    Exit code: 1 when there is none with one of the ids.

    Args:
        ids: As `ls` prints them.
        json: Print what became of each as JSON.
    """
    from worker.commands.dead_letters.commands import drop_letters  # noqa: PLC0415 - see worker.cli

    return drop_letters(ids, json=json)
