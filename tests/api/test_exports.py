"""Exports: what they hold is what was published, and it runs without Thawline."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from models_store.artifacts import ArtifactStore
from models_store.settings import Settings
from tests.api.checks import problem_of
from tests.fixtures.models import EMBEDS, QUANTISED, TASKS, TrainedModel
from tests.fixtures.servers import Service

pytestmark = pytest.mark.usefixtures("trained_models")
QUESTION, OTHER = "Where is my parcel?", "When will my order arrive?"


def download(service: Service, kind: str, format: str) -> zipfile.ZipFile:
    answer = service.client.get(f"/models/tiny-{kind}/versions/1/export", params={"format": format})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert f'filename="tiny-{kind}-1-{format}.zip"' in answer.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def triton_config(text: str) -> Any:
    """A configuration, read by the definition that Triton's client carries."""
    spec = importlib.util.find_spec("tritonclient")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"  # its package wants grpcio
    module_spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # made by an older protobuf than reads it
        module_spec.loader.exec_module(module)
    return text_format.Parse(text, module.ModelConfig())


@pytest.mark.parametrize("kind", TASKS)
def test_the_files_are_those_of_the_manifest(service: Service, kind: str) -> None:
    archive = download(service, kind, "onnx")

    manifest = json.loads(archive.read("manifest.json"))["files"]
    others = set(archive.namelist()) - {"manifest.json", "USAGE.md"}
    assert {"model.onnx", "model.json", "tokenizer.json", "README.md"} <= others
    assert ("model.int8.onnx" in others) == (kind == QUANTISED)
    assert "report.json" not in others  # it quotes rows of the data
    for name in others:
        assert hashlib.sha256(archive.read(name)).hexdigest() == manifest[name]["sha256"]


@pytest.mark.parametrize("kind", TASKS)
def test_the_example_runs_without_thawline_and_answers_the_same(service: Service, kind: str, tmp_path: Path) -> None:
    archive = download(service, kind, "onnx")
    archive.extractall(tmp_path)
    found = re.search(r"```python\n(.+?)```", archive.read("USAGE.md").decode(), re.DOTALL)
    assert found is not None

    ended = subprocess.run([sys.executable, "-c", found[1]], cwd=tmp_path, capture_output=True, text=True, check=True)

    items: dict[str, Any] = {"tagging": "Ada met Bob on Monday .".split()}  # noqa: SIM905
    pair = {"text": QUESTION, "text_pair": OTHER}
    item = items.get(kind, pair if kind in ("similarity", "graded") else QUESTION)
    (expected,) = service.client.post(f"/predict/tiny-{kind}", json={"inputs": [item]}).json()["predictions"]
    printed = ended.stdout.strip()
    if kind == "tagging":
        assert printed == str([token["tag"] for token in expected["tokens"]])
    elif kind == "several":
        assert set(re.findall(r"'(\w+)'", printed)) == {entry["label"] for entry in expected["labels"]}
    else:
        *label, score = printed.split()
        assert float(score) == pytest.approx(expected["score"], abs=1e-4)
        assert label == ([expected["label"]] if "label" in expected else [])


@pytest.mark.parametrize("kind", TASKS)
def test_triton_can_read_the_configuration(
    service: Service, trained_models: dict[str, TrainedModel], kind: str
) -> None:
    archive = download(service, kind, "triton")
    folder = f"tiny-{kind}"
    task = json.loads(archive.read(f"{folder}/model.json"))["task"]

    config = triton_config(archive.read(f"{folder}/config.pbtxt").decode())

    assert (config.name, config.backend, config.max_batch_size) == (folder, "onnxruntime", 64)
    assert list(config.version_policy.specific.versions) == [1]
    assert {(field.name, field.data_type, tuple(field.dims)) for field in config.input} >= {
        ("input_ids", 9, (-1,)),  # TYPE_INT64
        ("attention_mask", 9, (-1,)),
    }
    outputs = {output.name: output for output in config.output}
    width = len(task.get("labels") or task.get("tags") or [0])
    assert list(outputs["logits"].dims) == ([-1, width] if kind == "tagging" else [width])
    embeds = trained_models[kind].job["result"]["head"] == "siamese"
    assert ("embedding" in outputs) == embeds
    assert embeds or kind != EMBEDS
    assert config.HasField("dynamic_batching")
    if outputs["logits"].label_filename:
        labels = archive.read(f"{folder}/{outputs['logits'].label_filename}").decode().splitlines()
        assert labels == task["labels"]
    assert archive.getinfo(f"{folder}/1/model.onnx").file_size > 0


def test_the_names_of_the_configuration_are_those_of_the_graph(service: Service) -> None:
    import onnxruntime

    archive = download(service, EMBEDS, "triton")
    config = triton_config(archive.read(f"tiny-{EMBEDS}/config.pbtxt").decode())

    session = onnxruntime.InferenceSession(archive.read(f"tiny-{EMBEDS}/1/model.onnx"))

    assert [field.name for field in config.input] == [field.name for field in session.get_inputs()]
    assert [field.name for field in config.output] == [field.name for field in session.get_outputs()]


def test_what_is_served_in_8_bits_is_exported_so(service: Service) -> None:
    files, mounted = download(service, QUANTISED, "onnx"), download(service, QUANTISED, "triton")

    assert mounted.read(f"tiny-{QUANTISED}/1/model.onnx") == files.read("model.int8.onnx")
    assert 'InferenceSession("model.int8.onnx")' in files.read("USAGE.md").decode()


def test_the_headers_can_be_asked_for_alone(service: Service) -> None:
    answer = service.client.head("/models/tiny-graded/versions/1/export")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/zip"


def test_the_same_version_makes_the_same_archive(service: Service) -> None:
    first, second = (service.client.get("/models/tiny-graded/versions/1/export").content for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/nobody/versions/1/export", 404),
        ("/models/tiny-graded/versions/7/export", 404),
        ("/models/tiny-graded/versions/1/export?format=coreml", 422),
        ("/models/..%2f..%2fetc/versions/1/export", 404),
    ],
)
def test_what_is_not_there_is_not_exported(service: Service, path: str, status: int) -> None:
    problem_of(service.client.get(path), status)


def test_files_that_were_altered_are_not_exported(service: Service, trained_models: dict[str, TrainedModel]) -> None:
    store = ArtifactStore(Settings(_env_file=None, home=service.home).artifacts_dir)
    (key,) = (key for key in store.keys("models") if trained_models["tagging"].job["id"] in key)
    tokenizer = store.path(key) / "tokenizer.json"
    before = tokenizer.read_bytes()
    tokenizer.write_bytes(before + b" ")
    try:
        answer = service.client.get("/models/tiny-tagging/versions/1/export")
    finally:
        tokenizer.write_bytes(before)

    assert "tokenizer.json differs" in problem_of(answer, 503)["detail"]
