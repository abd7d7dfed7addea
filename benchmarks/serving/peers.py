"""The peers: what each is started with, how it is asked, and where its answer lies."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving import servers
from benchmarks.serving.processes import free_port
from benchmarks.serving.thawline import MODEL
from models_store.precision import Precision

_SCRIPTS = Path(servers.__file__).parent
# Models are local folders: nothing is looked up or reported. For every peer alike.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "LITSERVE_DISABLE_TELEMETRY": "1"}


class Answer(NamedTuple):
    """The likeliest label of a text and its probability."""

    label: str
    score: float


class Api(NamedTuple):
    """How a server is asked.

    Attributes:
        path: Where texts are posted.
        body: The request's JSON for one text.
        answer: Reads the answer's JSON.
    """

    path: str
    body: Callable[[str], object]
    answer: Callable[[Any], Answer]


@dataclass(frozen=True, slots=True)
class Model:
    """Where the one classifier lies: as a folder of transformers, and as what optimum exports of that."""

    torch: Path
    exported: dict[Precision, Path]


@dataclass(frozen=True, slots=True)
class Start:
    """What a peer needs to be started: its programs, the model, a precision, a folder of its own, and a port."""

    programs: Path
    model: Model
    precision: Precision
    folder: Path
    port: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Another way to serve the model.

    Attributes:
        environment: Of `benchmarks.serving.environments.PINS`.
        command: Its command line.
        ready: A path that answers 200 when it is ready.
        api: How it is asked.
        precisions: What it can serve.
    """

    environment: str
    command: Callable[[Start], list[str]]
    ready: str
    api: Api
    precisions: frozenset[Precision] = field(default=frozenset(Precision))


def environment(folder: Path) -> dict[str, str]:
    """The environment variables of a peer's process, whose caches go into ``folder``."""
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**ours, **_ENVIRONMENT, "HF_HOME": str(folder / "hf")}


def thawline_api(model: str, precision: Precision | None) -> Api:
    """How Thawline is asked for a model, in a precision or in the one it serves by itself."""
    return Api(
        f"/predict/{model}?precision={precision}" if precision else f"/predict/{model}",
        lambda text: {"inputs": text},
        lambda body: _plain(body["predictions"][0]),
    )


def _plain(body: Any) -> Answer:
    return Answer(body["label"], body["score"])


def _script(name: str, backend: str) -> Callable[[Start], list[str]]:
    def command(start: Start) -> list[str]:
        folder = start.model.torch if backend == "torch" else start.model.exported[start.precision]
        return [str(start.programs / "python"), str(_SCRIPTS / name), str(folder), backend, str(start.port)]

    return command


def _infinity(start: Start) -> list[str]:
    # It writes a graph that it optimises itself beside the one it reads, and wants no other there.
    folder = start.folder / "model"
    shutil.copytree(start.model.exported[start.precision], folder)
    options = ["--engine", "optimum", "--device", "cpu", "--no-bettertransformer", "--log-level", "error"]
    where = ["--host", "127.0.0.1", "--port", str(start.port)]
    # Without its own warm-up, which loads texts of hundreds of words for a minute; ours comes later.
    return [
        str(start.programs / "infinity_emb"),
        *("v2", "--model-id", str(folder), "--served-model-name", MODEL, "--no-model-warmup", *options, *where),
    ]


def _mlserver(start: Start) -> list[str]:
    folder = start.folder / MODEL
    folder.mkdir()
    model = {
        "name": MODEL,
        "implementation": "mlserver_huggingface.HuggingFaceRuntime",
        "parameters": {
            "extra": {
                "task": "text-classification",
                "pretrained_model": str(start.model.exported[start.precision]),
                "optimum_model": True,
            }
        },
    }
    # Without parallel workers: one process more for each request to pass through would only cost time. And without
    # adaptive batches: with these versions, requests of one text that met in a batch got errors alone.
    server = {
        "host": "127.0.0.1",
        "http_port": start.port,
        "grpc_port": free_port(),
        "parallel_workers": 0,
        "metrics_endpoint": None,
    }
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    (start.folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    return [str(start.programs / "mlserver"), "start", str(start.folder)]


def _open_inference(text: str) -> object:
    return {"inputs": [{"name": "args", "shape": [1], "datatype": "BYTES", "data": [text]}]}


def _tensors(text: str) -> object:
    return {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}


def _of_tensors(body: Any) -> Answer:
    found = {output["name"]: output["data"][0] for output in body["outputs"]}
    return Answer(found["label"], found["score"])


_PLAIN = Api("/predict", lambda text: {"text": text}, _plain)
_FP32 = frozenset({Precision.FP32})  # torch has no like of what onnxruntime does in 8 bits

PEERS: dict[str, Peer] = {
    "fastapi-torch": Peer("transformers", _script("fastapi_app.py", "torch"), "/openapi.json", _PLAIN, _FP32),
    "fastapi-onnx": Peer("transformers", _script("fastapi_app.py", "onnx"), "/openapi.json", _PLAIN),
    "sentence-transformers-onnx": Peer(  # behind FastAPI, too
        "sentence-transformers", _script("fastapi_app.py", "sentence-transformers"), "/openapi.json", _PLAIN
    ),
    "litserve-torch": Peer("transformers", _script("litserve_app.py", "torch"), "/health", _PLAIN, _FP32),
    "litserve-onnx": Peer("transformers", _script("litserve_app.py", "onnx"), "/health", _PLAIN),
    "infinity": Peer(
        "infinity",
        _infinity,
        "/health",
        Api(
            "/classify",
            lambda text: {"model": MODEL, "input": [text]},
            lambda body: max((_plain(entry) for entry in body["data"][0]), key=lambda answer: answer.score),
        ),
    ),
    "mlserver": Peer(
        "mlserver",
        _mlserver,
        f"/v2/models/{MODEL}/ready",
        Api(
            f"/v2/models/{MODEL}/infer",
            _open_inference,
            lambda body: _plain(json.loads(body["outputs"][0]["data"][0])),
        ),
    ),
    "pytriton": Peer(
        "pytriton",
        _script("pytriton_app.py", "onnx"),
        "/v2/models/classifier/ready",
        Api("/v2/models/classifier/infer", _tensors, _of_tensors),
    ),
}
