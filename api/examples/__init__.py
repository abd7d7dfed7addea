"""Examples for the OpenAPI document: real answers of a service that learnt the sample data, a file each.

They lie in files because they are long; the schema or route that a file belongs to names it. Long lists are cut. A
schema only refers to its examples, and `resolved` fills them in when the document is done: the framework leaves out
each null of what passes through it, and an example without its nulls does not fit its schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

_FOLDER = Path(__file__).parent
_REFERENCE = "$example"


def example(name: str) -> Any:
    """The content of a JSON file of this folder, named without its ending."""
    return json.loads(text_example(f"{name}.json"))


def text_example(file_name: str) -> str:
    """The content of any file of this folder."""
    return (_FOLDER / file_name).read_text(encoding="utf-8")


def shown_as(*names: str) -> ConfigDict:
    """The configuration of a schema whose examples are in these files."""
    return ConfigDict(json_schema_extra={"examples": [{_REFERENCE: name} for name in names]})


def answered_with(name: str, **changes: Any) -> dict[str, Any]:
    """An answer of a route whose example is that of a file, with some members changed."""
    return {"content": {"application/json": {"example": {_REFERENCE: name, **changes}}}}


def resolved(node: Any) -> Any:
    """A document with each reference to an example replaced by it."""
    if isinstance(node, dict):
        if _REFERENCE in node:
            changes = {key: value for key, value in node.items() if key != _REFERENCE}
            return {**example(node[_REFERENCE]), **changes}
        return {key: resolved(value) for key, value in node.items()}
    return [resolved(value) for value in node] if isinstance(node, list) else node
