"""The HTTP reference: a page for each tag of the OpenAPI document, with an example for every call."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
_ADDRESS = "http://127.0.0.1:8000"
_METHODS = ("get", "post", "put", "delete")
_WIDTH = 84  # characters that fit on a line of the site
_LONGEST = 60  # lines of an example; more is cut, and said to be


def reference_pages(document: Json) -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    tags: list[Json] = document["tags"]
    yield "reference/index.md", _index(document, tags)
    for tag in tags:
        parts = [f"# {_title(tag['name'])}\n\n{tag['description']}\n"]
        parts += [Operation(document, *found).section() for found in _operations(document, tag["name"])]
        yield f"reference/{page_of(tag['name'])}", "\n".join(parts)
    yield "reference/objects.md", _objects(document)


def _objects(document: Json) -> str:
    """Every object that an answer may be or hold, with its members."""
    schemas: Json = document["components"]["schemas"]
    parts = ["# Objects of the answers\n\nWhat calls answer with, and what is within. A newer service may tell more.\n"]
    for name in sorted(_answered(document)):
        members = schemas[name]["properties"].items()
        rows = [row(f"`{member}`", _linked(value, schemas), _meaning(value)) for member, value in members]
        told = str(schemas[name].get("description", "")).replace("``", "`")
        table = "\n".join(["| member | value | meaning |", "|---|---|---|", *rows])
        parts.append(f"## {name} {{#{name.lower()}}}\n\n{told}\n\n{table}\n")
    return "\n".join(parts)


def _answered(document: Json) -> set[str]:
    """The names of the objects that answers are made of."""
    found: set[str] = set()
    waiting = [
        content.get("schema", {})
        for methods in document["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for content in answer.get("content", {}).values()
    ]
    while waiting:
        for name in _names_in(waiting.pop()):
            schema = document["components"]["schemas"][name]
            if name not in found and "properties" in schema:
                found.add(name)
                waiting.append(schema)
    return found


def _names_in(schema: Any) -> Iterator[str]:
    """The names of the schemas that one refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from _names_in(item)
    elif isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for name, value in schema.items():
            if name not in ("example", "examples", "default"):
                yield from _names_in(value)


def _linked(schema: Json, schemas: Json) -> str:
    """The values of a member, in a few words; objects are links."""
    kinds = _kinds(schema)
    words = [_linked_kind(kind, schemas) for kind in kinds if kind.get("type") != "null"]
    return " or ".join([*dict.fromkeys(words), *(["null"] if {"type": "null"} in kinds else [])])


def _linked_kind(kind: Json, schemas: Json) -> str:
    if "$ref" in kind:
        name = kind["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if "properties" in schemas[name] else _linked(schemas[name], schemas)
    if kind.get("type") == "array":
        return f"list of {_linked(kind['items'], schemas)}" if kind.get("items") else "list"
    if isinstance(values := kind.get("additionalProperties"), dict):
        return f"object of {_linked(values, schemas)}" if values else "object"
    return _in_words(kind)


def _meaning(schema: Json) -> str:
    """What is said of a member."""
    return next((kind["description"] for kind in [schema, *_kinds(schema)] if "description" in kind), "")


def _default(schema: Json) -> str:
    """The default of a member, unless there is none worth telling."""
    default = schema.get("default")
    return "" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"


def page_of(tag: str) -> str:
    """The file of a tag's page."""
    return tag.replace(" ", "-") + ".md"


def _title(tag: str) -> str:
    return {"openai": "OpenAI's embeddings", "datasets": "Data sets"}.get(tag, tag.capitalize())


def _operations(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if tag in methods.get(method, {}).get("tags", []):
                yield method, path, methods[method]


def _index(document: Json, tags: list[Json]) -> str:
    lines = [
        "# HTTP reference",
        "",
        document["info"]["description"],
        "",
        f"Every service shows the same, ready to be tried, at `/docs`, and as a file at `/openapi.json` "
        f"({document['openapi']}), of which clients for many languages can be generated. The examples ask "
        f"`{_ADDRESS}`. Where a key is set, each call but the health checks needs the header "
        "`Authorization: Bearer <THAWLINE_API_KEY>`.",
    ]
    for tag in tags:
        lines += ["", f"## {_title(tag['name'])}", "", "| call | what it does |", "|---|---|"]
        for method, path, operation in _operations(document, tag["name"]):
            link = f"{page_of(tag['name'])}#{anchor(operation)}"
            lines.append(f"| `{method.upper()} {path}` | [{operation['summary']}]({link}) |")
    return "\n".join(lines) + "\n"


def anchor(operation: Json) -> str:
    """The anchor of an operation's section."""
    return str(operation["operationId"]).lower()


class Operation:
    """A call of the document, as a section of a page."""

    def __init__(self, document: Json, method: str, path: str, operation: Json) -> None:
        self.document, self.method, self.path, self.operation = document, method, path, operation

    def section(self) -> str:
        """Heading, meaning, parameters, a call and its answers."""
        operation = self.operation
        parts = [
            f"## {operation['summary']} {{#{anchor(operation)}}}",
            f"`{self.method.upper()} {self.path}` · operation `{operation['operationId']}`",
            operation["description"].replace("``", "`"),
            self._parameters(),
            self._fields(),
            fenced("sh", self._curl()),
            self._answers(),
        ]
        return "\n".join(f"{part}\n" for part in parts if part)

    def _parameters(self) -> str:
        rows = []
        for parameter in self.operation.get("parameters", []):
            schema = parameter["schema"]
            meaning = parameter.get("description") or schema.get("description", "")
            needed = ", needed" if parameter.get("required") else ""
            rows.append(row(f"`{parameter['name']}`", parameter["in"] + needed, self._kind(schema), meaning))
        return "\n".join(["| parameter | where | value | meaning |", "|---|---|---|---|", *rows]) if rows else ""

    def _fields(self) -> str:
        """The fields of a body: of a form, or of an object in JSON with those of the objects within it."""
        rows: list[str] = []
        for kind, words in (("multipart/form-data", "form field"), ("application/json", "member of the body")):
            for schema in _kinds(self._body().get(kind, {}).get("schema", {})):
                rows += self._members(self._resolved(schema))
            if rows:
                return "\n".join(
                    [f"| {words} | needed, or its default | value | meaning |", "|---|---|---|---|", *rows]
                )
        return ""

    def _members(self, schema: Json, within: str = "") -> Iterator[str]:
        needed = schema.get("required", [])
        for name, member in schema.get("properties", {}).items():
            inner = self._resolved(member)
            if "properties" in inner:
                yield from self._members(inner, f"{within}{name}.")
                continue
            place = "(needed)" if name in needed else _default(member)
            yield row(f"`{within}{name}`", place, self._kind(member), _meaning(member))

    def _kind(self, schema: Json) -> str:
        """The values that fit, in a few words."""
        schema = self._resolved(schema)
        kinds = [self._resolved(kind) for kind in _kinds(schema)]
        return ", ".join(_in_words(kind) for kind in kinds if kind.get("type") != "null")

    def _resolved(self, schema: Json) -> Json:
        if "$ref" in schema:
            found: Json = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            return found
        return schema

    def _body(self) -> Json:
        content: Json = self.operation.get("requestBody", {}).get("content", {})
        return content

    def _curl(self) -> str:
        """A call with the first example."""
        words = ["curl -s", *([] if self.method in ("get", "post") else [f"-X {self.method.upper()}"])]
        if self.method == "post" and not self._body():
            words.append("-X POST")
        words.append(shlex.quote(_ADDRESS + self._example_path()))
        for kind, content in self._body().items():
            example = self._examples(content)
            if kind == "application/json" and example:
                words += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(example[0]))}"]
            elif kind == "multipart/form-data":
                words += [_form_field(name, value) for name, value in example[0].items()]
        line = " ".join(words)
        return line if len(line) <= _WIDTH else " \\\n  ".join([" ".join(words[:-2]), *words[-2:]])

    def _example_path(self) -> str:
        path = self.path
        for parameter in self.operation.get("parameters", []):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", str(parameter["schema"]["examples"][0]))
        return path

    def _examples(self, content: Json) -> list[Any]:
        if "example" in content:
            return [content["example"]]
        if "examples" in content:
            return [shown["value"] for shown in content["examples"].values()]
        return [example for kind in _kinds(content["schema"]) for example in self._resolved(kind).get("examples", [])]

    def _answers(self) -> str:
        parts, rows = [], []
        for status, answer in sorted(self.operation["responses"].items()):
            rows.append(row(status, answer["description"]))
            if status.startswith("2"):
                parts += [text for text in self._shown(answer) if text not in parts]
        return "\n".join([*parts, "| status | meaning |", "|---|---|", *rows])

    def _shown(self, answer: Json) -> Iterator[str]:
        for kind, content in answer.get("content", {}).items():
            for name in list(_names_in(content.get("schema", {})))[:1]:
                if "properties" in self.document["components"]["schemas"][name]:
                    yield f"Answer: [{name}](objects.md#{name.lower()})\n"
            for example in self._examples(content)[:1]:
                language = "json" if kind == "application/json" else "text"
                text = written(example) if language == "json" else example
                yield f"Answer, `{kind}`:\n\n{fenced(language, _cut(text))}\n"


def written(value: Any, indent: str = "") -> str:
    """JSON whose lists and objects are on one line where they fit."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent + line) <= _WIDTH or not isinstance(value, dict | list):
        return line
    deeper = indent + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + written(item, deeper) for item in value) + f"\n{indent}]"
    members = (f"{deeper}{json.dumps(key)}: {written(item, deeper)}" for key, item in value.items())
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


def row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def fenced(language: str, text: str) -> str:
    """A code block."""
    return f"```{language}\n{text.rstrip()}\n```"


def _kinds(schema: Json) -> list[Json]:
    """The schemas of which one has to fit: a body that may be left out has two."""
    kinds: list[Json] = schema.get("anyOf", [schema])
    return kinds


def _in_words(schema: Json) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("contentMediaType") or schema.get("format") == "binary":
        return "file"
    words = str(schema.get("type", "anything"))
    if words == "array" and "items" in schema:
        words = "list"
    least, most = (schema.get(key) for key in ("minimum", "maximum"))
    if least is not None and most is not None:
        words += f", {round(least)} to {round(most)}"
    return words


def _form_field(name: str, value: str) -> str:
    """A field of a form; of a file the name that it might have."""
    if not name.endswith("file"):
        return f"-F {shlex.quote(f'{name}={value}')}"
    ending = "conll" if "," not in value.partition("\n")[0] and " " in value.partition("\n")[0] else "csv"
    return f"-F {name}=@train.{ending}"


def _cut(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:_LONGEST], "…"] if len(lines) > _LONGEST else lines)
