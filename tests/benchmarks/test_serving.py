"""The comparison of servers: what becomes of measurements, and of a model that others are to serve."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig

from benchmarks.serving.comparison import Setting, Wanted, train
from benchmarks.serving.conversion import read_weights
from benchmarks.serving.environments import PINS
from benchmarks.serving.load import Measured, parse
from benchmarks.serving.measure import Plan, compare, measure
from benchmarks.serving.peers import PEERS, Answer, thawline_api
from benchmarks.serving.processes import ServerError
from benchmarks.serving.results import Results, Run, curves, read, tables
from benchmarks.serving.servers.modeling_classifier import FirstAndMeanForSequenceClassification
from benchmarks.serving.texts import Kind, make
from benchmarks.serving.thawline import Published, Thawline, read_texts, sample_files
from models_store.precision import ONNX_FILES, Precision
from models_store.predictor import Predictor
from models_store.specs import HeadName
from tests.worker.conftest import make_bench, rows_of
from worker.training.export import export_model

PRINTED = """Running 2s test @ http://127.0.0.1:8000/predict/benchmark
  1 threads and 16 connections
  Requests/sec:    500.00
RESULT {"requests": 1004, "microseconds": 2000000, "p50": 31250, "p99": 60500, "refused": 4, "broken": 1}
"""


def run(server: str, number: int, per_second: float, connections: int = 16, errors: int = 0) -> Run:
    return Run("fp32", "mixed", connections, number, server, Measured(per_second, 10.0, 20.0, errors))


RUNS = [
    *(run("thawline", number, rate) for number, rate in enumerate((400.0, 200.0, 300.0))),
    *(run("litserve", number, rate, errors=1) for number, rate in enumerate((100.0, 100.0, 50.0))),
    run("thawline", 0, 90.0, connections=1),
]


def test_the_clients_result_counts_good_answers_alone() -> None:
    assert parse(PRINTED) == Measured(per_second=500.0, p50=31.25, p99=60.5, errors=5)
    with pytest.raises(ValueError, match="no result"):
        parse("unable to connect")


def test_ratios_are_made_within_a_round() -> None:
    lines = list(tables(Results(RUNS)))

    # 400/100, 200/100 and 300/50; the median of the rates alone would give 300/100.
    assert "| fp32 | mixed | 16 | 4.00 (2.00 to 6.00) |" in lines
    assert "| fp32 | mixed | 16 | 300; 10.0, 20.0 | 100; 10.0, 20.0; 3 errors |" in lines
    assert "| fp32 | mixed | 1 | – |" in lines
    assert curves(Results(RUNS)) == {"mixed texts, fp32": {"thawline": {1: 90.0, 16: 300.0}, "litserve": {16: 100.0}}}


def test_a_server_that_never_answered_is_no_reason_to_fail() -> None:
    results = Results([run("thawline", 0, 5.0), run("litserve", 0, 0.0)])

    assert results.ratios(("fp32", "mixed", 16), "litserve") == [math.inf]


def test_runs_survive_the_file(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text("".join(f"{one.to_json()}\n" for one in RUNS), encoding="utf-8")

    assert read(file) == RUNS


def test_each_round_begins_with_another_server() -> None:
    class Fast:
        def run(self, texts: object, connections: int, seconds: int) -> Measured:
            return Measured(1.0, 1.0, 1.0, 0)

    runs = measure(dict.fromkeys("abc", Fast()), Plan({"mixed": ["text"]}, [1], 1, rounds=3), "fp32")

    assert [one.server for one in runs] == [*"abc", *"bca", *"cab"]


def test_a_peer_that_serves_another_function_is_told_apart() -> None:
    ours = [Answer("a", 0.9), Answer("b", 0.8)]

    assert compare(ours, [Answer("a", 0.9), Answer("b", 0.8001)], exact=True).startswith("2 of 2 labels")
    assert compare(ours, [Answer("a", 0.9), Answer("a", 0.5)], exact=False).startswith("1 of 2 labels")
    with pytest.raises(ServerError, match="another function"):
        compare(ours, [Answer("a", 0.9), Answer("b", 0.7)], exact=True)


def test_each_peer_has_an_environment_with_the_one_torch() -> None:
    assert {peer.environment for peer in PEERS.values()} <= set(PINS)
    assert {pin for pins in PINS.values() for pin in pins if pin.startswith("torch==")} == {"torch==2.13.0"}
    assert all("torch==2.13.0" in pins for pins in PINS.values())


def test_triton_names_what_it_answers() -> None:
    score = {"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [0.9]}
    label = {"name": "label", "datatype": "BYTES", "shape": [1, 1], "data": ["Sports"]}

    assert PEERS["pytriton"].api.answer({"outputs": [score, label]}) == Answer("Sports", 0.9)


class Jobs:
    """In the service's place: jobs whose `auto` chooses ``chosen``, and what was asked for."""

    def __init__(self, folder: Path, chosen: Precision) -> None:
        self.folder, self.chosen = folder, chosen
        self.asked: list[tuple[str, str]] = []

    def train(self, data: Path, rows: int, seed: int, model: str, precision: str) -> Published:
        """Write files as a job would."""
        self.asked.append((model, precision))
        served = self.chosen if precision == "auto" else Precision(precision)
        folder = self.folder / model
        folder.mkdir()
        for one in {Precision.FP32, served}:
            (folder / ONNX_FILES[one]).write_text("the same weights", encoding="utf-8")
        return Published(model, folder, served, "for a reason")


def test_other_rows_than_those_trained_on_choose_the_precision(tmp_path: Path) -> None:
    source = tmp_path / "source.csv"
    source.write_text("text,label\n" + "".join(f"text {number},a\n" for number in range(40)), encoding="utf-8")

    files = sample_files(source, tmp_path, 30, 7)

    trained, compared = (read_texts(files[field]) for field in ("file", "validation_file"))
    assert (len(trained), len(compared)) == (30, 10)
    assert len({*trained, *compared}) == 40
    assert list(sample_files(source, tmp_path, 40, 7)) == ["file"]


def settings_of(tmp_path: Path, jobs: Jobs, precisions: list[str]) -> tuple[list[Setting], list[str]]:
    told: list[str] = []
    wanted = Wanted(tmp_path, 1, 7, [], tmp_path, [], precisions, [], 1, 1)
    return train(wanted, cast("Thawline", jobs), told.append), told


def test_one_model_has_every_precision_where_auto_takes_8_bits(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, Precision.INT8)

    settings, told = settings_of(tmp_path, jobs, ["auto", "fp32", "int8"])

    assert jobs.asked == [("benchmark", "auto")]
    assert "auto serves it in int8: for a reason" in told
    assert [setting.served for setting in settings] == [Precision.INT8, Precision.FP32, Precision.INT8]
    assert [setting.peers for setting in settings] == [Precision.FP32, Precision.FP32, Precision.INT8]
    paths = [thawline_api(setting.ours.model, setting.asked).path for setting in settings]
    assert paths == [f"/predict/benchmark{query}" for query in ("", "?precision=fp32", "?precision=int8")]


def test_8_bits_are_asked_for_where_auto_takes_none(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, Precision.FP32)

    settings, _ = settings_of(tmp_path, jobs, ["auto", "int8"])

    assert jobs.asked == [("benchmark", "auto"), ("benchmark-int8", "int8")]
    assert [setting.served for setting in settings] == [Precision.FP32, Precision.INT8]
    assert thawline_api(settings[1].ours.model, settings[1].asked).path == "/predict/benchmark-int8?precision=int8"


def word_tokenizer() -> Tokenizer:
    """Each word is as many pieces as it has letters."""
    vocabulary = {piece: number for number, piece in enumerate(["[CLS]", "[SEP]", "x", "##x"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[SEP]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 0), ("[SEP]", 1)])
    return tokenizer


def test_texts_have_the_lengths_asked_for() -> None:
    words = ["x" * random.Random(number).randint(1, 12) for number in range(50)]
    tokenizer = word_tokenizer()

    texts = make(Kind(8, 14), [" ".join(words[:20]), " ".join(words[20:])], tokenizer, seed=7)

    lengths = {len(tokenizer.encode(text).ids) for text in texts}
    assert len(texts) == 256
    assert min(lengths) >= 8
    assert max(lengths) == 14
    assert len(lengths) > 3


def test_peers_get_the_very_function_that_was_published(encoders_dir: Path, tmp_path: Path) -> None:
    bench = make_bench("classification", encoders_dir, tmp_path)
    model = bench.model(HeadName.LINEAR)
    with torch.no_grad():
        for parameter in model.parameters():  # as after training: no two are equal, which the exporter would make one
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    model.temperature.fill_(2.0)
    folder = tmp_path / "out"
    folder.mkdir()
    export_model(model, bench.encoder, bench.task, folder, max_length=bench.encoder.max_length)
    config = json.loads((encoders_dir / "tiny" / "config.json").read_text(encoding="utf-8"))
    labels = dict.fromkeys(range(bench.task.n_outputs), "label")
    rebuilt = FirstAndMeanForSequenceClassification(BertConfig(**config, id2label=labels)).eval()

    weights = {name: torch.from_numpy(values.copy()) for name, values in read_weights(folder / "model.onnx").items()}
    rebuilt.load_state_dict(weights, strict=False)

    assert {name for name in rebuilt.state_dict() if name not in weights} <= {"bert.embeddings.position_ids"}
    predictor = Predictor.load(folder, threads=1)
    encoded = predictor.encode([bench.task.example(row) for row in rows_of("classification", 4)])
    length = max(len(one) for one in encoded)
    ids = torch.tensor([[*one.input_ids, *[0] * (length - len(one))] for one in encoded])
    mask = torch.tensor([[1] * len(one) + [0] * (length - len(one)) for one in encoded])
    with torch.inference_mode():
        logits = rebuilt(ids, mask).logits.numpy()
    np.testing.assert_allclose(logits, np.stack(predictor.logits(encoded)), atol=1e-5)
