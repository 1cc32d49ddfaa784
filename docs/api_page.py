"""Write docs/api.md and docs/api.zh-CN.md, in the form of CMDB's own API pages, from what /openapi.json says.

python -m docs.api_page          # write the pages
python -m docs.api_page --check  # exit 1 when they are out of date
"""

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from api_shim.http.app import create_app
from api_shim.http.field_texts import ANSWER_FIELDS, HEADERS, PARAMETERS, REQUEST_FIELDS
from api_shim.http.openapi_codes import table
from contract.codes import Language
from contract.settings import Settings
from docs.generated_page import write_or_check

PAGES: Final = {
    "en": Path(__file__).with_name("api.md"),
    "zh": Path(__file__).with_name("api.zh-CN.md"),
}
_TYPES: Final = {"integer": "int", "boolean": "bool"}
_COMMON: Final = ("X-Request-Id", "Cache-Control", "Content-Language", "Vary")

_TEXTS: Final[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("api_texts.toml").read_text(encoding="utf-8"))
_SHOWN: Final = {"request_id": "3f2b8c0d9e6a4715b2c4d6e8f0a1b2c3", "job_id": "7a1d5e9c3b8f4206a4c6e8d0b2f1a3c5"}

Schema = Mapping[str, Any]


def render(language: Language) -> str:
    """One of the pages."""
    return "\n".join(_Page(language, create_app(Settings()).openapi()).lines()) + "\n"


@dataclass
class _Page:
    language: Language
    document: Mapping[str, Any]
    objects: dict[str, Schema] = field(default_factory=dict)
    """What the tables name and the end of the page explains."""

    def lines(self) -> Iterator[str]:
        yield from (_TEXTS["head"][self.language], "", f"## {self.word('calls')}", "")
        yield from self.table(("call", "address", "about"), map(self.contents, _TEXTS["calls"]))
        for call in _TEXTS["calls"]:
            yield from self.call(call)
        yield from ("", f"## {self.word('objects')}", "", self.word("about_objects"))
        yield from self.explained()
        yield from self.codes()

    def contents(self, call: Schema) -> tuple[str, ...]:
        name, address = call["name"], f"`{call['method']} {call['path']}`"
        return f"[{name}](#{name})", address, call["summary"][self.language]

    def call(self, call: Schema) -> Iterator[str]:
        operation = self.document["paths"][call["path"]][call["method"].lower()]
        yield from ("", f"## {call['name']}", "", f"`{call['method']} {call['path']}`", "")
        summary, more = call["summary"][self.language], call["more"][self.language]
        yield from (f"### {self.word('description')}", "", f"{summary}{self.word('stop')}", "", more, "")
        yield from (f"### {self.word('input')}", "")
        yield from self.input(operation, call)
        yield from ("", f"### {self.word('example_in')}", "", *self.example_in(operation, call))
        status, answer = next((status, said) for status, said in operation["responses"].items() if status[0] == "2")
        content = answer["content"]["application/json"]
        example = next(iter(content["examples"].values()))["value"]
        yield from ("", f"### {self.word('example_out')}", "", f"HTTP {status}", "", *_json(example))
        yield from ("", f"### {self.word('output')}", "")
        yield from self.table(("field", "type", "about"), self.fields(content["schema"]))
        yield from self.headers(answer)

    def input(self, operation: Schema, call: Schema) -> Iterator[str]:
        rows = [self.path_parameter(name) for name in _SHOWN if f"{{{name}}}" in call["path"]]
        rows += [self.parameter(said) for said in operation.get("parameters", ()) if said["in"] != "path"]
        rows += self.required_fields(_body(operation))
        if not rows:
            yield self.word("nothing")
            return
        yield from self.table(("field", "type", "required", "about"), rows)

    def path_parameter(self, name: str) -> tuple[str, ...]:
        return f"`{name}`", "string", self.word("yes"), f"{self.word('in_path')}{self.say(PARAMETERS[name])}"

    def parameter(self, said: Schema) -> tuple[str, ...]:
        place = self.word("in_header" if said["in"] == "header" else "in_query")
        description = f"{place}{self.say(PARAMETERS[said['name']])}"
        description += self.choices(said["schema"])
        return f"`{said['name']}`", self.type(said["schema"]), self.word("no"), description

    def required_fields(self, schema: Schema) -> list[tuple[str, ...]]:
        required = schema.get("required", ())
        return [
            (name, kind, self.word("yes" if name.strip("`") in required else "no"), description)
            for name, kind, description in self.fields(schema)
        ]

    def fields(self, schema: Schema) -> Iterator[tuple[str, str, str]]:
        for name, part in schema.get("properties", {}).items():
            yield f"`{name}`", self.type(part), self.described(name, part) + self.choices(part)

    def described(self, name: str, part: Schema) -> str:
        said = ANSWER_FIELDS.get(name) or REQUEST_FIELDS.get(name)
        english = part.get("description", said[0] if said else "")
        if self.language == "en":
            return english
        return _TEXTS["fields"].get(english) or (said[1] if said else "")

    def choices(self, schema: Schema) -> str:
        values = _plain(schema).get("enum")
        return "" if not values else self.word("one_of").format(" ".join(f"`{value}`" for value in values))

    def type(self, schema: Schema) -> str:
        """As CMDB's pages name it; what has fields of its own is a link to them."""
        parts = [part for part in schema.get("anyOf", (schema,)) if part.get("type") != "null"]
        if len(parts) > 1:
            return " / ".join(dict.fromkeys(self.type(part) for part in parts))
        part = self.resolved(parts[0])
        if part.get("type") == "array":
            return self.word("array_of").format(self.type(part["items"]))
        if "properties" in part:
            title = part["title"]
            self.objects.setdefault(title, part)
            return f"[{title}](#{title.lower().replace(' ', '-')})"
        kind = part.get("type", "string")
        return _TYPES.get(kind, kind)

    def resolved(self, schema: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        name = schema["$ref"].rpartition("/")[2]
        return {"title": name, **self.document["components"]["schemas"][name]}

    def explained(self) -> Iterator[str]:
        """Each object once, those that are named by others too."""
        done: set[str] = set()
        while new := [title for title in self.objects if title not in done]:
            for title in new:
                done.add(title)
                yield from ("", f"### {title}", "")
                yield from self.object(self.objects[title], is_sent=title in self.document["components"]["schemas"])

    def object(self, schema: Schema, *, is_sent: bool) -> Iterator[str]:
        if is_sent:
            yield from self.table(("field", "type", "required", "about"), self.required_fields(schema))
        else:
            yield from self.table(("field", "type", "about"), self.fields(schema))

    def codes(self) -> Iterator[str]:
        refused = self.document["components"]["responses"]["Refused400"]["content"]["application/json"]
        yield from ("", f"## {self.word('codes')}", "", self.word("refusal"), "")
        yield from (*_json(next(iter(refused["examples"].values()))["value"]), "")
        yield from (self.word("about_codes"), "", table(self.language).rstrip())

    def headers(self, answer: Schema) -> Iterator[str]:
        names = [name for name in answer["headers"] if name not in _COMMON and not _is_of_pages(name)]
        if names:
            yield from ("", f"{self.word('headers')}:", "")
            yield from (f"- `{name}`: {self.say(HEADERS[name])}" for name in names)

    def example_in(self, operation: Schema, call: Schema) -> Iterator[str]:
        content = operation.get("requestBody", {}).get("content")
        if content is None:
            path = call["path"].format(**_SHOWN) + call.get("query", "")
            post = "" if call["method"] == "GET" else " -X POST"
            yield from ("```sh", f"curl -u my_app{post} 'http://127.0.0.1:8080{path}'", "```")
            return
        yield from _json(next(iter(content["application/json"]["examples"].values()))["value"])

    def table(self, heads: tuple[str, ...], rows: Any) -> Iterator[str]:
        yield f"| {' | '.join(map(self.word, heads))} |"
        yield f"|{'---|' * len(heads)}"
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"

    def word(self, name: str) -> str:
        word: str = _TEXTS["words"][name][self.language]
        return word

    def say(self, both: tuple[str, str]) -> str:
        return both[0 if self.language == "en" else 1]


def _body(operation: Schema) -> Schema:
    content = operation.get("requestBody", {}).get("content", {})
    schema: Schema = content.get("application/json", {}).get("schema", {})
    return schema


def _plain(schema: Schema) -> Schema:
    """Without the null that may stand instead."""
    parts = [part for part in schema.get("anyOf", (schema,)) if part.get("type") != "null"]
    plain: Schema = parts[0]
    return plain


def _is_of_pages(name: str) -> bool:
    return HEADERS[name][0].startswith("Of a page")


def _json(value: Any) -> Iterator[str]:
    yield from ("```json", json.dumps(value, indent=2, ensure_ascii=False), "```")


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    return max([write_or_check(page, render(language), arguments) for language, page in PAGES.items()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
