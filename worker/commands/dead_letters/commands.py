"""`bksi dlq …`: what was set aside, to look at, to send again, or to drop."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Final, Literal, TypeVar

from cyclopts import App, Parameter
from cyclopts.validators import Number
from redis.exceptions import RedisError
from rich.table import Table
from rich.text import Text

from contract.message import make_celery
from contract.queue import Queue
from contract.redis.connection import connect
from contract.redis.requests import Requests
from contract.settings import Settings, load_settings
from plumbing.urls import without_secrets
from worker.commands.console import out, plain_errors, print_outcomes, refuse, uncut
from worker.commands.dead_letters.letters import CannotRequeue, DeadLetter, DeadLetters
from worker.postgres.engine import make_engine
from worker.postgres.errors import DatabaseError

Result = TypeVar("Result")
Deed = Callable[[DeadLetters, DeadLetter], Awaitable[bool]]

app = App(name="dlq", default_parameter=Parameter(negative=()))

Ids = Annotated[str, Parameter(name="ID", required=True)]
UNKNOWN: Final = "there is no such dead letter"
GONE: Final = "it was gone already"


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

    async def run(lists: Sequence[DeadLetters]) -> tuple[int, list[DeadLetter]]:
        total = sum([await letters.count() for letters in lists])
        found = [letter for letters in lists async for letter in _first(letters, kind, limit)]
        found.sort(key=lambda letter: letter.at, reverse=True)
        return total, found[:limit]

    total, found = _in_redis(run)
    if json:
        out.print_json(data={"total": total, "letters": [letter.document() for letter in found]})
    elif not found:
        out.print("No dead letters." if not total else f"None of the {total} dead letters is a {kind}.")
    else:
        out.print(_table(found))
        out.print(f"{len(found)} of {total}", highlight=False)
    return 0


@app.command
def show(id_: Annotated[str, Parameter(name="ID")], /, *, raw: bool = False, json: bool = False) -> int:
    """Show one: why it was set aside, and what is known of it.

    Exit code: 1 when there is none with this id.

    Args:
        id_: A letter's id, as `ls` prints it; a request's is its request_id.
        raw: Print the message, or what the request asked for, byte for byte, and nothing else. It may hold secrets.
        json: Print it as JSON.
    """

    async def run(lists: Sequence[DeadLetters]) -> tuple[DeadLetter, bytes | None] | None:
        for letters in lists:
            if letter := (await letters.find([id_])).get(id_):
                return letter, await letters.content(letter)
        return None

    found = _in_redis(run)
    if found is None:
        return refuse(f"{id_}: {UNKNOWN}")
    letter, content = found
    if raw:
        if content is None:
            return refuse("what it asked for is not kept any more")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return 0
    document = letter.document() | {"can_requeue": content is not None and not letter.about.get("truncated", False)}
    if json:
        out.print_json(data=document)
    else:
        table = uncut("", "", box=None, show_header=False, pad_edge=False)
        for name, value in document.items():
            table.add_row(name, Text(str(value)))
        out.print(table)
    return 0


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

    async def run(lists: Sequence[DeadLetters]) -> dict[str, str | None]:
        engine = make_engine(load_settings())

        async def send(letters: DeadLetters, letter: DeadLetter) -> bool:
            return await (letters.push(letter) if letter.kind == "message" else letters.revive(letter, engine))

        try:
            return await _each(lists, ids, send)
        finally:
            await engine.dispose()

    return print_outcomes(_in_redis(run), "requeued", json=json)


@app.command
def drop(*ids: Ids, json: bool = False) -> int:
    """Forget some, with what they hold. The answer of a request stays what it is.

    Exit code: 1 when there is none with one of the ids.

    Args:
        ids: As `ls` prints them.
        json: Print what became of each as JSON.
    """
    return print_outcomes(_in_redis(lambda lists: _each(lists, ids, DeadLetters.drop)), "dropped", json=json)


async def _each(lists: Sequence[DeadLetters], ids: Sequence[str], deed: Deed) -> dict[str, str | None]:
    """Do it to each of `ids`; why not, by id, None where it was done."""
    outcomes: dict[str, str | None] = dict.fromkeys(ids, UNKNOWN)
    for letters in lists:
        found = await letters.find(ids)
        for id_, letter in ((id_, found[id_]) for id_ in outcomes if id_ in found):
            try:
                outcomes[id_] = None if await deed(letters, letter) else GONE
            except CannotRequeue as why:
                outcomes[id_] = str(why)
            except DatabaseError as error:
                outcomes[id_] = f"database: {error}"
    return outcomes


async def _first(
    letters: DeadLetters, kind: Literal["message", "request"] | None, limit: int
) -> AsyncIterator[DeadLetter]:
    left = limit
    async for letter in letters:
        if kind in {None, letter.kind}:
            yield letter
            left -= 1
            if not left:
                return


def _in_redis(run: Callable[[Sequence[DeadLetters]], Awaitable[Result]]) -> Result:
    """Run a part that needs the lists; a Redis that does not answer is one line on stderr."""
    settings = load_settings()

    async def call() -> Result:
        async with _open(settings) as lists:
            return await run(lists)

    servers = ", ".join(map(without_secrets, settings.redis_servers))
    with plain_errors(RedisError, OSError, of=f"BKSI_REDIS_URL ({servers})"):
        return asyncio.run(call())


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Sequence[DeadLetters]]:
    """The list beside the pending entries, and that of a broker which is another Redis."""
    async with AsyncExitStack() as stack:
        queue, lists = Queue(stack.enter_context(make_celery(settings)), settings), []
        for url in settings.redis_servers:
            client = connect(settings.model_copy(update={"redis_url": url}), connections=2)
            stack.push_async_callback(client.aclose)
            lists.append(DeadLetters(Requests(client, settings), queue, has_queue=url == settings.broker))
        yield lists


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = uncut("id", "set aside (UTC)", "kind", "reason", "about", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for letter in letters:
        at = f"{letter.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(*(Text(text) for text in (letter.id, at, letter.kind, letter.reason, letter.subject)))
    return table
