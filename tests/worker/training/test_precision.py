"""Served precision: 8 bits only where they are as good and faster, and always beside the original."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import CONFIG_FILE, Predictor
from models_store.reports import PrecisionReport
from models_store.specs import HeadName
from tests.worker.conftest import LEGAL_PAIRS, Bench, make_bench, run_to_end
from worker.training import precision as module
from worker.training.export import export_model
from worker.training.precision import choose, passes

FP32, INT8 = Precision.FP32, Precision.INT8


def export(bench: Bench, folder: Path, head: HeadName = HeadName.LINEAR) -> Path:
    folder.mkdir()
    export_model(bench.model(head), bench.encoder, bench.task, folder, max_length=bench.encoder.max_length)
    return folder


def chosen(bench: Bench, folder: Path, asked: Any) -> tuple[Predictor, PrecisionReport]:
    progress, found = run_to_end(choose(folder, Predictor.load(folder, 1), asked, bench.data.validation, 1))
    assert progress == sorted(progress)
    predictor, report = found
    return predictor, report


def times_are(monkeypatch: pytest.MonkeyPatch, fp32: float, int8: float) -> None:
    monkeypatch.setattr(module, "_time", lambda *args: {FP32: fp32, INT8: int8})


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("kind", "head"), LEGAL_PAIRS)
def test_every_legal_pair_can_be_quantised(kind: str, head: HeadName, encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)
    folder = export(bench, tmp_path / "out", head)

    served, report = chosen(bench, folder, "int8")

    assert (report.served, report.rows) == ("int8", len(bench.data.validation))
    assert (report.embedding_similarity is not None) == (head is HeadName.SIAMESE)
    assert report.figures["int8"].size_bytes < report.figures["fp32"].size_bytes
    assert all(figure.milliseconds and figure.milliseconds > 0 for figure in report.figures.values())
    assert (config_of(folder)["precision"], config_of(folder)["precisions"]) == ("int8", ["fp32", "int8"])
    original = Predictor.load(folder, 1, FP32)
    examples = [bench.task.example(row) for row in bench.data.validation.rows]
    encoded = original.encode(examples)
    pairs = list(zip(original.logits(encoded), served.logits(encoded), strict=True))
    assert all(np.abs(a - b).max() < 0.5 for a, b in pairs)
    assert any((a != b).any() for a, b in pairs)  # it is another model indeed
    again = Predictor.load(folder, 1).logits(encoded)
    assert all((a == b).all() for (_, a), b in zip(pairs, again, strict=True))


def test_single_precision_can_be_asked_for(bench: Bench, tmp_path: Path) -> None:
    folder = export(bench, tmp_path / "out")

    _, report = chosen(bench, folder, "fp32")

    assert (report.served, report.figures) == ("fp32", {})
    assert not (folder / ONNX_FILES[INT8]).exists()


def test_auto_takes_8_bits_where_they_are_as_good_and_faster(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times_are(monkeypatch, 2.0, 1.0)
    monkeypatch.setattr(module, "agreement", lambda *args: 0.99)
    monkeypatch.setattr(module, "TOLERANCE", 1.0)

    _, report = chosen(bench, export(bench, tmp_path / "out"), "auto")

    assert (report.served, report.reason) == ("int8", "8-bit arithmetic is 2.0 times as fast and as good")


@pytest.mark.parametrize(
    ("lost", "same", "int8_time", "reason"),
    [
        (0.006, 1.0, 1.0, "would lose 0.6 points"),
        (0.0, 0.98, 1.0, "would change 2.0 % of the answers"),
        (0.0, 1.0, 2.0, "no faster"),
    ],
)
def test_auto_keeps_single_precision_otherwise(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: float,
    same: float,
    int8_time: float,
    reason: str,
) -> None:
    times_are(monkeypatch, 2.0, int8_time)
    monkeypatch.setattr(module, "agreement", lambda *args: same)
    scores = iter([0.9, 0.9 - lost])

    def answered(*args: Any) -> Generator[int, None, tuple[list[Any], float]]:
        yield from ()
        return [], next(scores)

    monkeypatch.setattr(module, "_answers", answered)
    folder = export(bench, tmp_path / "out")

    predictor, report = chosen(bench, folder, "auto")

    assert report.served == "fp32"
    assert reason in report.reason
    assert not (folder / ONNX_FILES[INT8]).exists()
    assert config_of(folder)["precisions"] == ["fp32"]
    assert predictor.predict(["where is my parcel"])


# ---- sentence encoders ----------------------------------------------------------------------------------------------


@pytest.fixture
def sentences(encoders_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench for sentence encoders whose answers to pairs are no reason against 8 bits."""
    times_are(monkeypatch, 2.0, 1.0)
    monkeypatch.setattr(module, "agreement", lambda *args: 1.0)
    monkeypatch.setattr(module, "TOLERANCE", 2.0)  # a correlation cannot lose more
    return make_bench("graded pairs", encoders_dir, tmp_path)


def test_embeddings_that_stay_near_the_original_are_served(sentences: Bench, tmp_path: Path) -> None:
    folder = export(sentences, tmp_path / "out", HeadName.SIAMESE)

    served, report = chosen(sentences, folder, "auto")

    texts = [text for row in sentences.data.validation.rows for text in (row["text"], row["text_pair"])]
    original = Predictor.load(folder, 1, FP32)
    alone = [[model.embed([one])[0] for one in model.encode_texts(texts)] for model in (original, served)]
    assert report.served == "int8"
    assert report.embedding_similarity is not None
    assert module.EMBEDDING_SIMILARITY <= report.embedding_similarity < 1
    assert report.embedding_similarity == pytest.approx(np.mean(np.sum(np.prod(alone, axis=0), axis=1)), abs=0.005)


@pytest.mark.parametrize("spoil", [lambda vectors: vectors[::-1], lambda vectors: [v * np.nan for v in vectors]])
def test_embeddings_that_are_others_keep_single_precision(
    sentences: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[list[Any]], list[Any]]
) -> None:
    truly = Predictor.embeddings

    def embeddings(self: Predictor, encoded: Any) -> list[Any]:
        vectors = truly(self, encoded)
        return spoil(vectors) if self.precision is INT8 else vectors

    monkeypatch.setattr(Predictor, "embeddings", embeddings)
    folder = export(sentences, tmp_path / "out", HeadName.SIAMESE)

    _, report = chosen(sentences, folder, "auto")

    assert report.embedding_similarity is not None
    assert report.embedding_similarity < module.EMBEDDING_SIMILARITY
    assert report.reason == (
        "8-bit arithmetic would change the embeddings: "
        f"their cosine with the original's is {report.embedding_similarity:.3f}"
    )
    assert (report.served, config_of(folder)["precisions"]) == ("fp32", ["fp32"])
    assert chosen(sentences, folder, "int8")[1].served == "int8"  # who asks for it gets it, and is told


@pytest.mark.parametrize("head", [HeadName.SIAMESE, HeadName.LINEAR])
@pytest.mark.parametrize("asked", ["auto", "int8", "fp16"])
def test_all_passes_are_counted(head: HeadName, asked: Any, encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("graded pairs", encoders_dir, tmp_path)
    original = Predictor.load(export(bench, tmp_path / "out", head), 1)

    progress, _ = run_to_end(choose(tmp_path / "out", original, asked, bench.data.validation, 1))

    assert progress[-1] == passes(asked, embeds=head is HeadName.SIAMESE) * len(bench.data.validation)


# ---- half precision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "head"), LEGAL_PAIRS)
def test_every_legal_pair_can_be_halved(kind: str, head: HeadName, encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench(kind, encoders_dir, tmp_path)
    folder = export(bench, tmp_path / "out", head)

    served, report = chosen(bench, folder, "fp16")

    assert (report.served, served.precision) == ("fp32", FP32)  # a processor gains nothing by it
    assert report.gpu is not None
    assert (report.gpu.served, report.gpu.reason) == ("fp16", "half precision was asked for")
    # Some heads, which stay as they are, are larger than this encoder.
    assert report.gpu.figures["fp16"].size_bytes < 1.01 * report.gpu.figures["fp32"].size_bytes
    config = config_of(folder)
    assert (config["precision"], config["gpu_precision"], config["precisions"]) == ("fp32", "fp16", ["fp32", "fp16"])
    half = Predictor.load(folder, 1, Precision.FP16)
    for row in bench.data.validation.rows[:8]:
        encoded = served.encode([bench.task.example(row)])
        np.testing.assert_allclose(half.logits(encoded)[0], served.logits(encoded)[0], atol=0.05, rtol=0.05)


def test_half_precision_is_not_tried_where_there_is_no_gpu(
    encoders_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("classification", encoders_dir, tmp_path)
    folder = export(bench, tmp_path / "out")
    times_are(monkeypatch, 2.0, 1.0)

    _, report = chosen(bench, folder, "auto")

    assert report.gpu is None
    assert not (folder / ONNX_FILES[Precision.FP16]).exists()
