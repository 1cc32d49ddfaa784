"""Read a TOML file that holds secrets into a model, or say in one line what is wrong with it."""

import os
import stat
import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class TomlFileInvalid(Exception):
    """The file cannot be used; the message says where and why, and holds nothing of what stands there."""


def read_toml(path: Path, model: type[Model]) -> Model:
    """The content of `path` as a `model`.

    Raises:
        TomlFileInvalid: it cannot be read, is not TOML, or holds what the model refuses.
    """
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    except tomllib.TOMLDecodeError as error:
        # The rest of its text may quote the line.
        found = f"not TOML{_place(error)}"
    except UnicodeDecodeError:
        found = "not UTF-8"
    except PermissionError:
        found = _not_readable(path)
    except OSError as error:
        found = error.strerror or type(error).__name__
    raise TomlFileInvalid(f"{path}: {found}")


def _place(error: tomllib.TOMLDecodeError) -> str:
    _, given, place = str(error).rpartition("(at line ")
    return f", line {place.partition(',')[0]}" if given else ""


def _not_readable(path: Path) -> str:
    """Who may read it, beside who wanted to: in a container these are numbers that nobody expects."""
    ours = f"user {os.geteuid()} may not read it"
    try:
        status = path.stat()
    except OSError:
        return f"{ours}, nor look into its directory"
    mode = stat.S_IMODE(status.st_mode)
    return f"{ours}; it is user {status.st_uid}'s, mode {mode:o}. Mend it: chown {os.geteuid()} and chmod 400"
