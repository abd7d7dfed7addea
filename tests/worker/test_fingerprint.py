"""The fingerprint: the same for another attempt at a job, and another one whenever the result would differ."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models_store.artifacts import MANIFEST
from models_store.encoders import HubRevision
from tests.fixtures.encoders import build_tiny_encoder
from tests.worker.conftest import Workshop
from worker.fingerprint import fingerprint_of
from worker.request import PipelineRequest


def fingerprint(request: PipelineRequest, device: str = "cpu") -> str:
    return fingerprint_of(request, request.encoders.find("tiny"), device)


@pytest.fixture
def request_of_job(workshop: Workshop, tmp_path: Path) -> PipelineRequest:
    """One whose data and encoder the test may alter."""
    request = workshop.pipeline_request()
    data = shutil.copytree(request.dataset_dir, tmp_path / "data")
    encoders = shutil.copytree(request.encoders.folder, tmp_path / "encoders")
    return request.model_copy(
        update={"dataset_dir": data, "encoders": replace(request.encoders, folder=encoders)},
    )


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
    os.utime(request.encoders.folder / "tiny" / "model.safetensors", (0, 0))
    return request


def from_hub(request: PipelineRequest, commit: str = "0" * 40) -> PipelineRequest:
    hub = {"tiny": HubRevision("acme/tiny", commit)}
    return request.model_copy(update={"encoders": replace(request.encoders, hub=hub)})


@pytest.mark.parametrize("change", [other_seed, other_labels, other_rows, other_weights, from_hub])
def test_whatever_decides_the_result_changes_it(
    request_of_job: PipelineRequest, change: Callable[[PipelineRequest], PipelineRequest]
) -> None:
    before = fingerprint(request_of_job)

    assert fingerprint(change(request_of_job)) != before


def test_so_does_the_device(request_of_job: PipelineRequest) -> None:
    assert fingerprint(request_of_job, "cuda") != fingerprint(request_of_job)


def test_an_encoder_from_the_hub_is_its_commit(request_of_job: PipelineRequest) -> None:
    job, other = from_hub(request_of_job), from_hub(request_of_job, "1" * 40)
    before = fingerprint(job)
    assert fingerprint(other) != before

    build_tiny_encoder(job.encoders.find("tiny").folder)

    assert fingerprint(job) == before  # fetched meanwhile, or anew
