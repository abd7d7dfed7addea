"""The whole service on PostgreSQL, which is what replaces SQLite when that is outgrown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models_store import jobs
from models_store.database import Database
from tests.fixtures.models import QUICK, SampleFiles
from tests.fixtures.servers import Service
from tests.services.test_faults import FAST_RECOVERY, LONG, assert_a_killed_worker_costs_an_attempt_and_no_job, submit

pytestmark = [
    pytest.mark.services,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True, ids=["postgresql"]),
]


@pytest.fixture
def service(database_url: str, tmp_path: Path, encoders_dir: Path) -> Iterator[Service]:
    """The service on an empty database, with short leases; the URL is spelt as an operator would."""
    url = database_url.replace("postgresql+psycopg://", "postgresql://")
    environment = {**FAST_RECOVERY, "THAWLINE_ENCODERS_DIR": str(encoders_dir), "THAWLINE_DATABASE_URL": url}
    running = Service(tmp_path / "home", environment)
    running.start()
    yield running
    assert running.stop() == 0, running.log
    running.client.close()
    assert not (running.home / "thawline.db").exists(), "it was SQLite after all"


def test_upload_train_and_predict(service: Service, sample_files: dict[str, SampleFiles], database_url: str) -> None:
    job_id = submit(service, sample_files["classification"], QUICK)

    job = service.wait_for_job(job_id)
    answer = service.client.post("/predict/model", json={"inputs": ["where is my parcel", "the bill please"]}).json()

    assert (job["status"], job["attempt"], job["model"]["version"]) == ("succeeded", 1, 1), service.log
    assert (answer["model"], answer["version"]) == ("model", 1)
    assert {prediction["label"] for prediction in answer["predictions"]} <= {"delivery", "money"}
    db = Database(database_url)
    assert [row.id for row in jobs.list_jobs(db, limit=10)] == [job_id]
    db.dispose()


def test_a_worker_killed_in_training_costs_an_attempt_and_no_job(
    service: Service, sample_files: dict[str, SampleFiles]
) -> None:
    job_id = submit(service, sample_files["classification"], {**LONG, "full_epochs": 60})
    assert_a_killed_worker_costs_an_attempt_and_no_job(service, job_id)
    assert service.client.post("/predict/model", json={"inputs": "my parcel"}).json()["version"] == 1
