"""How a command ends when it does not succeed: one line, and an exit code that says which kind of end it is."""

from typing import Final

OK, FAILED, USAGE, UNFINISHED, UNANSWERED = 0, 1, 2, 3, 4
EXIT_CODES: Final = (
    "Exit codes: 0 done, or accepted where nothing is waited for; 1 refused or failed; 2 wrong usage. Commands that "
    "call a server tell more apart: 2 also for a wrong file or setting, 3 not ended in time, 4 no answer."
)


class CommandFailed(Exception):
    """What is wrong, in one line that names the file, URL or variable, and the exit code."""

    def __init__(self, message: str, exit_code: int = USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code
