"""Names that come from outside, as labels of a metric: only so many, for each is a series of its own for ever."""

OTHER = "other"


class BoundedNames:
    """The first `most` names that are met keep theirs; those that come later are all `OTHER`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: set[str] = set()

    def __call__(self, name: str) -> str:
        """`name`, or what stands for it."""
        if name not in self._kept:
            if len(self._kept) >= self._most:
                return OTHER
            self._kept.add(name)
        return name
