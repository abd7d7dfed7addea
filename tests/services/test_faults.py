"""What must not lose a job: killed processes, a broker that forgets, a shutdown, a cancellation."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file

from migrations import upgrade
from tests.fixtures.encoders import build_tiny_encoder
from tests.fixtures.models import QUICK, SampleFiles
from tests.fixtures.servers import Service, Valkey, wait_for

pytestmark = pytest.mark.services

# Long enough to be interrupted, short enough to finish.
LONG = {**QUICK, "full_epochs": 200, "batch_size": 1, "patience": 1000, "full_learning_rate": 0.0001}
FAST_RECOVERY = {
    "THAWLINE_LEASE_SECONDS": "6",  # of a busy machine, too: a living worker must not be taken for lost
    "THAWLINE_HEARTBEAT_SECONDS": "0.5",
    "THAWLINE_SWEEP_SECONDS": "1",
}


def submit(service: Service, files: SampleFiles, hyperparameters: dict[str, Any], **fields: Any) -> str:
    dataset = service.upload(files.task, files.train, files.validation).json()
    # These rates are for the smallest head; which one `auto` finds is not what is tested here.
    fields = {"base_model": "tiny", "head": "linear", **fields}
    answer = service.submit(dataset["id"], "model", hyperparameters=hyperparameters, **fields)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def wait_for_phase(service: Service, job_id: str, phase: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        job = service.job(job_id)
        assert job["status"] in ("queued", "running"), job
        return job if job["phase"] == phase else None

    job: dict[str, Any] = wait_for(there, seconds=90, what=f"phase {phase}")
    return job


def event_messages(service: Service, job_id: str) -> str:
    events = service.client.get(f"/jobs/{job_id}/events", params={"limit": 100}).json()["data"]
    return "\n".join(event["message"] for event in events)


def assert_a_killed_worker_costs_an_attempt_and_no_job(service: Service, job_id: str) -> None:
    """Kill the worker in the second phase of a job; another attempt finishes it."""
    wait_for_phase(service, job_id, "full")
    (child,) = service.find("worker.child")

    workers = [process for process in service.find("-m worker") if process.pid != child.pid]
    for process in workers:  # so that none sees another one die, and hands the job back in good order
        process.suspend()
    for process in workers:
        process.kill()

    child.wait(10)  # the kernel ends the training process with its parent
    job = service.wait_for_job(job_id)
    assert (job["status"], job["attempt"], job["model"]["version"]) == ("succeeded", 2, 1), service.log
    assert "worker was lost" in event_messages(service, job_id)


def test_a_worker_killed_in_mid_training_costs_an_attempt_and_no_job(
    fragile_service: Service, sample_files: dict[str, SampleFiles]
) -> None:
    job_id = submit(fragile_service, sample_files["classification"], {**LONG, "full_epochs": 60})
    assert_a_killed_worker_costs_an_attempt_and_no_job(fragile_service, job_id)


def test_a_job_whose_process_is_killed_each_time_fails_with_its_history(
    fragile_service: Service, sample_files: dict[str, SampleFiles]
) -> None:
    job_id = submit(fragile_service, sample_files["classification"], LONG)

    def poison() -> bool:
        for process in fragile_service.find("worker.child"):
            process.kill()
        return bool(fragile_service.job(job_id)["status"] == "failed")

    wait_for(poison, seconds=120, what="the job being given up")
    job = fragile_service.job(job_id)
    assert job["error"]["code"] == "attempts_exhausted"
    assert "SIGKILL" in job["error"]["message"]
    assert job["attempt"] == 3
    assert event_messages(fragile_service, job_id).count("queued again") == 2


def test_a_running_job_is_cancelled_within_seconds(
    fragile_service: Service, sample_files: dict[str, SampleFiles]
) -> None:
    job_id = submit(fragile_service, sample_files["classification"], LONG)
    wait_for_phase(fragile_service, job_id, "full")

    answer = fragile_service.client.post(f"/jobs/{job_id}/cancel")

    assert answer.status_code == 200
    assert answer.json()["cancel_requested"] is True
    fragile_service.wait_for_job(job_id, "cancelled", seconds=15)
    assert fragile_service.find("worker.child") == []
    assert fragile_service.client.post("/predict/model", json={"inputs": "x"}).status_code == 404


def test_training_that_diverges_fails_and_says_so(
    fragile_service: Service, sample_files: dict[str, SampleFiles]
) -> None:
    job_id = submit(fragile_service, sample_files["classification"], QUICK, base_model="broken")

    job = fragile_service.wait_for_job(job_id)

    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "diverged", 1)
    assert "finite" in job["error"]["message"]
    assert event_messages(fragile_service, job_id).endswith(job["error"]["message"])


def test_a_model_that_answers_differently_once_exported_fails_the_job_and_is_not_published(
    tmp_path: Path, sample_files: dict[str, SampleFiles]
) -> None:
    # Outputs so large that the roundings of two runtimes alone lie further apart than the gate allows.
    loud = tmp_path / "encoders" / "loud"
    build_tiny_encoder(loud)
    weights = load_file(loud / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.weight"] *= 1e6
    save_file(weights, loud / "model.safetensors", metadata={"format": "pt"})
    service = Service(tmp_path / "home", {"THAWLINE_ENCODERS_DIR": str(loud.parent)})
    service.start()
    try:
        job_id = submit(
            service, sample_files["classification"], QUICK, base_model="loud", strategy="frozen", head="linear"
        )
        job = service.wait_for_job(job_id)

        assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "parity_failed", 1)
        assert "differ" in job["error"]["message"]
        assert job["model"]["version"] is None
        assert service.client.get("/models").json()["data"] == []
        assert "export started" in event_messages(service, job_id)
    finally:
        service.stop()
        service.client.close()
    assert list((service.home / "artifacts" / "models").glob("*")) == []


def test_stopping_the_service_hands_the_job_back_and_a_restart_finishes_it(
    fragile_service: Service, sample_files: dict[str, SampleFiles]
) -> None:
    job_id = submit(fragile_service, sample_files["classification"], {**LONG, "full_epochs": 60})
    wait_for_phase(fragile_service, job_id, "full")
    family = fragile_service.family()

    assert fragile_service.stop() == 0
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []

    fragile_service.start()
    job = fragile_service.wait_for_job(job_id)
    assert job["status"] == "succeeded"
    assert "its worker is shutting down" in event_messages(fragile_service, job_id)


@pytest.fixture
def parts(tmp_path: Path, valkey: Valkey, encoders_dir: Path) -> Iterator[tuple[Service, Service]]:
    """API and worker started alone, on a broker that the test may kill."""
    home = tmp_path / "home"
    home.mkdir()
    upgrade(f"sqlite:///{home / 'thawline.db'}")
    environment = {
        **FAST_RECOVERY,
        "THAWLINE_BROKER_URL": valkey.url,
        "THAWLINE_ENCODERS_DIR": str(encoders_dir),
    }
    api = Service(home, environment, [sys.executable, "-m", "api.cli", "api"])
    worker = Service(home, environment, [sys.executable, "-m", "api.cli", "worker"])
    api.start()
    yield api, worker
    for part in (api, worker):
        if part.process is not None:
            part.stop()
        part.client.close()


def test_a_broker_that_forgets_everything_loses_no_job(
    parts: tuple[Service, Service], valkey: Valkey, sample_files: dict[str, SampleFiles]
) -> None:
    api, worker = parts
    jobs = [submit(api, sample_files["classification"], QUICK) for _ in range(2)]

    valkey.kill()
    assert api.client.get("/readyz").status_code == 503
    jobs.append(submit(api, sample_files["classification"], QUICK))  # accepted all the same: the database is the truth
    valkey.start()
    worker.start(ready=False)

    for job_id in jobs:
        assert api.wait_for_job(job_id)["status"] == "succeeded"
    assert worker.stop() == 0


def test_a_broker_emptied_while_the_worker_trains_loses_no_job(
    parts: tuple[Service, Service], valkey: Valkey, sample_files: dict[str, SampleFiles]
) -> None:
    api, worker = parts
    worker.start(ready=False)
    running = submit(api, sample_files["classification"], LONG)
    wait_for_phase(api, running, "full")
    waiting = [submit(api, sample_files["classification"], QUICK) for _ in range(2)]

    valkey.kill()  # and with it both messages
    valkey.start()
    api.client.post(f"/jobs/{running}/cancel")

    for job_id in waiting:
        assert api.wait_for_job(job_id)["status"] == "succeeded"
    assert api.job(running)["status"] == "cancelled"


def test_the_broker_may_go_while_the_worker_waits(
    parts: tuple[Service, Service], valkey: Valkey, sample_files: dict[str, SampleFiles]
) -> None:
    api, worker = parts
    worker.start(ready=False)
    first = submit(api, sample_files["classification"], QUICK)
    assert api.wait_for_job(first)["status"] == "succeeded"

    valkey.kill()
    valkey.start()

    second = submit(api, sample_files["classification"], QUICK)
    assert api.wait_for_job(second)["status"] == "succeeded"


def test_a_home_with_a_long_path_leaves_nothing_in_the_temporary_folder(tmp_path: Path, encoders_dir: Path) -> None:
    before = set(Path(tempfile.gettempdir()).glob("thawline-*"))
    running = Service(tmp_path / ("x" * 120), {"THAWLINE_ENCODERS_DIR": str(encoders_dir)})
    running.start()
    assert running.stop() == 0
    running.client.close()
    assert set(Path(tempfile.gettempdir()).glob("thawline-*")) == before
