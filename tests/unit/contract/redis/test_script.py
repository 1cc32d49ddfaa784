"""Redis meets a name that is not declared only when it comes to that line; here all are looked at."""

import re

import pytest

from contract.redis.script import CLOCK, Script
from tests.lua import lua_files, scripts

# fmt: off
KEYWORDS = {
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
    "repeat", "return", "then", "true", "until", "while",
}
# fmt: on
GIVEN = {"redis", "KEYS", "ARGV", "string", "table", "math", "ipairs", "tonumber", "unpack"}
DECLARED = (
    re.compile(r"local ([\w, ]+)"),
    re.compile(r"function \w*\(([\w, ]*)\)"),
    re.compile(r"function\(([\w, ]*)\)"),
    re.compile(r"local function (\w+)"),
    re.compile(r"for ([\w, ]+?) (?:in|=)"),
)


def undeclared(lua: str) -> set[str]:
    code = re.sub(r"^#!.*|--.*|'(?:\\.|[^'\\])*'", "", lua, flags=re.MULTILINE)
    used = set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", code))
    declared = {name for pattern in DECLARED for names in pattern.findall(code) for name in re.findall(r"\w+", names)}
    return used - declared - KEYWORDS - GIVEN


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in scripts()])
def test_every_name_is_declared(script: Script) -> None:
    assert undeclared(script) == set()


def test_misspelt_name_is_found() -> None:
    assert undeclared("local id = ARGV[1]\nreturn redis.call('GET', ib) -- a comment\n") == {"ib"}


def test_keys_and_arguments_have_names_and_the_flags_stay_first() -> None:
    script = Script("worker/custody/extend.lua", keys="workers first_req…", args="name first…", parts=(CLOCK,))
    flags, *rest = script.splitlines()
    assert flags == "#!lua flags=allow-oom"
    assert "local workers, first_req, name, first = KEYS[1], 2, ARGV[1], 2" in rest


def test_every_file_is_part_of_a_script() -> None:
    whole = [script for _, script in scripts()]
    for path, text in lua_files().items():
        body = text.split("\n", 1)[1] if text.startswith("#!") else text
        assert any(body in script for script in whole), path
