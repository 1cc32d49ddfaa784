"""Only so many names become series."""

from plumbing.bounded_names import OTHER, BoundedNames


def test_first_names_keep_theirs_and_later_ones_are_other() -> None:
    named = BoundedNames(2)
    assert [named(name) for name in ("a", "b", "a", "c", "b", "")] == ["a", "b", "a", OTHER, "b", OTHER]
