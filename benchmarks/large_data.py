"""Peak memory of a training process on data that is large for the machine.

    python -m benchmarks.large_data [--rows 1000000] [--layers 1] [--width 384] [--strategy hybrid]

Generates texts of 5 to 40 words whose first word decides the label, and runs the training process itself over them
(`worker.child`, as the worker starts it), one epoch a phase, with an encoder of random weights that has fewer layers
than all-MiniLM-L6-v2 and, if asked, is narrower: what grows with the rows are their word pieces, whatever the encoder,
and the features, which leave memory for a file when they grow beyond a gibibyte. The upload, whose memory is bounded by
its own limit, is left out: rows are written straight into the data set's Arrow files.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from transformers import AutoConfig, AutoModel

from models_store.artifacts import seal
from models_store.encoders import DEFAULT_ENCODER, EncoderCatalogue
from models_store.specs import JobRequest, resolve_spec
from models_store.tasks.classification import ClassificationTask
from worker.process import TrainingProcess
from worker.request import PipelineRequest
from worker.training.events import Failed, Finished

LABELS = ("even", "odd")
WORDS = [f"{first}{second}" for first in "bcdfghklmnprstvw" for second in ("a", "en", "ill", "ost", "um", "ay")]
_CHUNK = 10_000


def main() -> None:
    """Generate, train, and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--width", type=int, default=384, help="a multiple of 32")
    parser.add_argument("--strategy", default="hybrid", choices=["hybrid", "finetune", "frozen"])
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {arguments}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for split, rows in (("train", arguments.rows), ("validation", 10_000)):
            _write_rows(root / "fresh" / f"{split}.arrow", rows)
        seal(root / "fresh", root / "data", {"kind": "dataset"})
        write_encoder(root / "encoders" / "shallow", arguments.layers, arguments.width)
        started = time.monotonic()
        peak = _train(_request(arguments, root))
        print(f"{arguments.rows} rows: {time.monotonic() - started:.0f} s, peak RSS {peak / 2**20:.0f} MiB")


def _write_rows(path: Path, rows: int) -> None:
    path.parent.mkdir(exist_ok=True)
    schema = pa.schema([("text", pa.string()), ("label", pa.string())])
    draw = random.Random(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, rows, _CHUNK):
            chunk = list(_rows(draw, min(_CHUNK, rows - start)))
            writer.write_table(pa.Table.from_pylist(chunk, schema))


def _rows(draw: random.Random, count: int) -> Iterator[dict[str, str]]:
    for _ in range(count):
        words = draw.choices(WORDS, k=draw.randint(5, 40))
        yield {"text": " ".join(words), "label": LABELS[WORDS.index(words[0]) % 2]}


def write_encoder(folder: Path, layers: int, width: int) -> None:
    """An encoder of random weights, with all-MiniLM-L6-v2's tokenizer and heads of 32."""
    source = EncoderCatalogue(folder, folder).find(DEFAULT_ENCODER).folder
    config = AutoConfig.from_pretrained(
        source,
        local_files_only=True,
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=width // 32,
    )
    AutoModel.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")


def _request(arguments: argparse.Namespace, root: Path) -> PipelineRequest:
    task = ClassificationTask(LABELS)
    asked = JobRequest.model_validate(
        {
            "dataset_id": "",
            "model": "large",
            "base_model": "shallow",
            "strategy": arguments.strategy,
            "hyperparameters": {"head_epochs": 1, "full_epochs": 1},
        }
    )
    for name in ("output", "scratch"):
        (root / name).mkdir()
    return PipelineRequest(
        spec=resolve_spec(asked, task, arguments.rows, ["shallow"]),
        dataset_schema=task.to_config(),
        dataset_sha256="",
        dataset_dir=root / "data",
        encoders=EncoderCatalogue(root / "encoders", root / "hub"),
        output_dir=root / "output",
        scratch_dir=root / "scratch",
        device="cpu",
        threads=arguments.threads,
    )


def _train(request: PipelineRequest) -> int:
    """Run the training process to its end; returns its peak resident memory in bytes."""
    with TrainingProcess(request.model_dump_json(), request.scratch_dir) as process:
        while not process.ended:
            event = process.next_event(1.0)
            if isinstance(event, Failed):
                raise SystemExit(event.message)
            if isinstance(event, Finished):
                print(event.result["metrics"]["validation"])
                break
            if event is not None and event.kind not in ("step", "working"):
                print(event.model_dump_json()[:160], flush=True)
        else:
            raise SystemExit(process.describe_end())
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


if __name__ == "__main__":
    main()
