"""Our side: the training process of a job, without the queue. Run as a process by `measure.run_side`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.training_speed.exchange import Report, Times
from worker.pipeline import run
from worker.request import PipelineRequest
from worker.training.events import Finished, PhaseFinished, StageStarted


def main(folder: Path) -> None:
    """Run the pipeline and note when each stage began."""
    request = PipelineRequest.model_validate_json((folder.parent / "pipeline.json").read_text(encoding="utf-8"))
    output, scratch = folder / "output", folder / "scratch"
    output.mkdir()
    scratch.mkdir()
    if request.threads:
        torch.set_num_threads(request.threads)
    times: dict[str, Times] = {}
    epochs: dict[str, float] = {}
    metrics: dict[str, float] = {}
    started = Times.now()
    for event in run(request.model_copy(update={"output_dir": output, "scratch_dir": scratch})):
        if isinstance(event, StageStarted):
            started = Times.now()
        elif isinstance(event, PhaseFinished):  # its own seconds leave the encoder's run over the rows out
            times[event.phase], epochs[event.phase] = Times.now().since(started), event.epochs
        elif isinstance(event, Finished):
            metrics = event.result["metrics"]["test"]
    Report(times, epochs, metrics).save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
