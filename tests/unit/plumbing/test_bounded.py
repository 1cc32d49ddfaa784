"""Memories that cannot grow without end."""

from plumbing.bounded import OTHER, BoundedNames, Recent


def test_what_was_used_longest_ago_is_forgotten() -> None:
    recent = Recent[str, int](2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]


def test_what_is_put_again_replaces_the_value_and_pushes_nothing_out() -> None:
    recent = Recent[str, int](2)
    for key, value in (("a", 1), ("b", 2), ("a", 3)):
        recent.put(key, value)
    assert [recent.get(key) for key in "ab"] == [3, 2]


def test_first_names_keep_theirs_and_later_ones_are_other() -> None:
    named = BoundedNames(2)
    assert [named(name) for name in ("a", "b", "a", "c", "b", "")] == ["a", "b", "a", OTHER, "b", OTHER]
