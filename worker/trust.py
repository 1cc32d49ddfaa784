"""Whether a message that brings its own batch may run.

`worker.senders` brings cryptography along, so it is loaded where senders are configured and nowhere else.
"""

from typing import TYPE_CHECKING

from contract.message import TaskArguments

if TYPE_CHECKING:
    from worker.senders import Sender, Senders


class NotTrusted(Exception):
    """A message is not provably a known sender's. The text is one of a few and holds nothing of the message."""


def open_message(arguments: TaskArguments, senders: "Senders | None") -> "tuple[TaskArguments, Sender | None]":
    """What a direct message asks for, and who provably asks; nobody in particular where no senders are configured.

    Raises:
        NotTrusted: see `Senders.open`; also a signature where nobody can check it.
    """
    if senders is not None:
        return senders.open(arguments)
    if arguments.signed is not None:
        raise NotTrusted("the message is signed, and this worker knows no senders (BKSI_SENDERS_FILE)")
    return arguments, None
