"""What the files of applications and of senders have in common: names, and the businesses that each may write."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from plumbing.toml_file import read_toml

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
"""Of an application or a sender: a bk_app_code."""


class Configured(BaseModel):
    """A part of such a file, or the whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; raises `TomlFileInvalid`."""
        return read_toml(path, cls)


class Writer(Configured):
    """Somebody who may create service instances."""

    bk_biz_ids: tuple[Annotated[int, Field(gt=0)], ...] | Literal["*"]

    def may_write(self, bk_biz_id: int) -> bool:
        """Whether it may create service instances in this business."""
        return self.bk_biz_ids == "*" or bk_biz_id in self.bk_biz_ids
