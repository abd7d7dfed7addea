"""The OpenAPI document: complete, valid, with examples that fit, and good enough to generate a client from."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic_core import to_json

from api.main import create_app
from api.openapi import ABOUT, operations
from models_store.settings import Settings
from tests.fixtures.servers import Service

CLIENT = "generated_client"
BINARY = "application/zip"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_it_says_what_the_service_is(document: dict[str, Any]) -> None:
    info = document["info"]

    assert info["license"] == {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    assert info["summary"]
    assert "contact" not in info
    assert [server["url"] for server in document["servers"]] == ["/"]
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_every_operation_has_an_id_a_summary_and_one_tag_that_is_described(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    ids = [operation["operationId"] for _, operation in operations(document)]

    assert len(ids) == len(set(ids)) == len({name.lower() for name in ids})
    assert len(described) == len(ABOUT["openapi_tags"])
    used = set()
    for _, operation in operations(document):
        name = operation["operationId"]
        assert re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", name), name
        (tag,) = operation["tags"]
        used.add(tag)
        assert operation["description"], name
        # The framework makes one of the function's name where none is given.
        assert re.fullmatch(r"[A-Z][a-z]*( [a-zA-Z',]+)*\??", operation["summary"]), operation["summary"]
        assert not operation["summary"].istitle() or " " not in operation["summary"], operation["summary"]
    assert used == described


def test_a_call_that_needs_a_key_says_so(document: dict[str, Any]) -> None:
    open_ones = {op["operationId"] for _, op in operations(document) if not op.get("security")}

    assert open_ones == {"checkHealth", "checkReadiness", "oipLive", "oipReady"}
    for _, operation in operations(document):
        assert ("401" in operation["responses"]) == (operation["operationId"] not in open_ones)


# ---- examples -------------------------------------------------------------------------------------------------------


def examples_of(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    """Those of a body or an answer: its own, or those of its schema."""
    if "example" in content:
        return [content["example"]]
    if "examples" in content:
        return [shown["value"] for shown in content["examples"].values()]
    found: list[Any] = []
    for schema in content["schema"].get("anyOf", [content["schema"]]):  # a body that may be left out is one of two
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        found += schema.get("examples", [])
    return found


def contents(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each body and each answer of a call that went well, with the operation's id and the media type."""
    for _, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        for part in bodies + answers:
            for kind, content in part.get("content", {}).items():
                yield operation["operationId"], kind, content


def errors_of(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    validator = Draft202012Validator({**schema, "components": document["components"]})
    return [error.message for error in validator.iter_errors(value)]


def test_every_body_and_every_answer_has_an_example_that_fits(document: dict[str, Any]) -> None:
    seen = 0
    for name, kind, content in contents(document):
        if content["schema"].get("format") == "binary":  # bytes, of which no example can be read
            continue
        examples = examples_of(document, content)
        assert examples, (name, kind)
        for value in examples:
            assert errors_of(document, content["schema"], value) == [], (name, kind)
            seen += 1
    assert seen > 50


def test_every_example_of_a_schema_fits(document: dict[str, Any]) -> None:
    schemas = list(schemas_with_examples(document))

    for schema in schemas:
        for value in schema["examples"]:
            assert errors_of(document, schema, value) == [], (schema.get("title"), value)
    assert len(schemas) > 40


def schemas_with_examples(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema with examples, wherever in the document: elsewhere `examples` is an object."""
    if isinstance(node, dict):
        if isinstance(node.get("examples"), list):
            yield node
        for key, value in node.items():
            if key not in ("example", "examples"):
                yield from schemas_with_examples(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas_with_examples(value)


def test_every_parameter_is_described_and_those_of_paths_have_examples(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            where = (operation["operationId"], parameter["name"])
            assert parameter.get("description") or parameter["schema"].get("description"), where
            if parameter["in"] == "path":
                assert parameter["schema"]["examples"], where


# ---- a generated client ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client_folder(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What openapi-python-client makes of the document, without a complaint."""
    folder = tmp_path_factory.mktemp("client")
    source = folder / "openapi.json"
    source.write_bytes(to_json(document))
    options = ConfigFile(post_hooks=[], content_type_overrides={BINARY: "application/octet-stream"})
    config = Config.from_sources(
        options,
        MetaType.NONE,
        document_source=source,
        file_encoding="utf-8",
        overwrite=False,
        output_path=folder / CLIENT,
    )
    assert [(error.header, error.detail) for error in generate(config=config)] == []
    return folder


def test_a_generated_client_has_every_operation_and_passes_mypy(document: dict[str, Any], client_folder: Path) -> None:
    names = {re.sub("([A-Z])", r"_\1", op["operationId"]).lower() for _, op in operations(document)}
    modules = {path.stem for path in (client_folder / CLIENT / "api").rglob("*.py")} - {"__init__"}
    options = ["--config-file", "", "--cache-dir", str(client_folder / "cache")]
    # The generator writes the two kinds of list that `WorstError.true` may be into one variable.
    mypy = [sys.executable, "-m", "mypy", *options, "--disable-error-code", "assignment", CLIENT]

    assert modules == names
    checked = subprocess.run(mypy, cwd=client_folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_a_generated_client_calls_the_service(service: Service, client_folder: Path) -> None:
    package = imported(client_folder / CLIENT)
    with package.Client(base_url=str(service.client.base_url)) as client:
        health = operation("service.check_health").sync(client=client)
        models = operation("models.list_models").sync(client=client, limit=5)
        missing = operation("models.get_model").sync(client=client, name="nobody")

    assert health.to_dict() == {"status": "ok"}
    assert models.to_dict()["object"] == "list"
    assert missing.status == 404


def imported(folder: Path) -> ModuleType:
    """The package in a folder, without the folder on the path."""
    spec = importlib.util.spec_from_file_location(
        CLIENT, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[CLIENT] = module
    spec.loader.exec_module(module)
    return module


def operation(name: str) -> Any:
    return importlib.import_module(f"{CLIENT}.api.{name}")
