"""What the files of applications and of senders have in common: names, and the businesses that each may write."""

import re
import sys
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contract.settings import Mode, OnExisting
from plumbing.toml_file import read_toml

_NAME: Final = "[A-Za-z0-9_-]{1,128}"
Name = Annotated[str, StringConstraints(pattern=f"^{_NAME}$")]
"""Of an application or a sender: a bk_app_code."""


def require_name(app_code: str) -> None:
    """End the command that makes an entry for `app_code`, if the file would be refused with it."""
    if not re.fullmatch(_NAME, app_code):
        sys.exit("bksi: APP_CODE: must be 1 to 128 letters, digits, - or _")


class Configured(BaseModel):
    """A part of such a file, or the whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; raises `TomlFileInvalid`."""
        return read_toml(path, cls)


class Known(Configured):
    """Somebody who may create service instances."""

    bk_biz_ids: tuple[Annotated[int, Field(gt=0)], ...] | Literal["*"]
    on_existing: OnExisting | None = None
    """What its bodies mean that leave ``on_existing`` out; None = as `Settings.on_existing` says."""
    mode: Mode | None = None
    """The same for ``mode``, which compat paths do not have."""

    def may_write(self, bk_biz_id: int) -> bool:
        """Whether it may create service instances in this business."""
        return self.bk_biz_ids == "*" or bk_biz_id in self.bk_biz_ids
