"""The fingerprint: the same for another attempt at a job, and another one whenever the result would differ."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models_store.artifacts import MANIFEST
from models_store.encoders import find_encoder
from tests.worker.conftest import Workshop
from worker.fingerprint import fingerprint_of
from worker.request import PipelineRequest


def fingerprint(request: PipelineRequest, device: str = "cpu") -> str:
    return fingerprint_of(request, find_encoder("tiny", request.encoders_dir), device)


@pytest.fixture
def request_of_job(workshop: Workshop, tmp_path: Path) -> PipelineRequest:
    """One whose data and encoder the test may alter."""
    request = workshop.pipeline_request()
    copies = {"dataset_dir": tmp_path / "data", "encoders_dir": tmp_path / "encoders"}
    for name, folder in copies.items():
        shutil.copytree(getattr(request, name), folder)
    return request.model_copy(update=copies)


def test_another_attempt_has_the_same(request_of_job: PipelineRequest, tmp_path: Path) -> None:
    elsewhere = {"output_dir": tmp_path / "output.2", "scratch_dir": tmp_path / "scratch.2", "threads": 7}

    assert fingerprint(request_of_job.model_copy(update=elsewhere)) == fingerprint(request_of_job)


def other_seed(request: PipelineRequest) -> PipelineRequest:
    return request.model_copy(update={"spec": request.spec.model_copy(update={"seed": request.spec.seed + 1})})


def other_labels(request: PipelineRequest) -> PipelineRequest:
    return request.model_copy(update={"dataset_schema": {**request.dataset_schema, "labels": ["a", "b"]}})


def other_rows(request: PipelineRequest) -> PipelineRequest:
    with (request.dataset_dir / MANIFEST).open("a") as manifest:
        manifest.write(" ")
    return request


def other_weights(request: PipelineRequest) -> PipelineRequest:
    os.utime(request.encoders_dir / "tiny" / "model.safetensors", (0, 0))
    return request


@pytest.mark.parametrize("change", [other_seed, other_labels, other_rows, other_weights])
def test_whatever_decides_the_result_changes_it(
    request_of_job: PipelineRequest, change: Callable[[PipelineRequest], PipelineRequest]
) -> None:
    before = fingerprint(request_of_job)

    assert fingerprint(change(request_of_job)) != before


def test_so_does_the_device(request_of_job: PipelineRequest) -> None:
    assert fingerprint(request_of_job, "cuda") != fingerprint(request_of_job)
