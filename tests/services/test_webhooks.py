"""A finished job calls its receiver, from the service as an operator starts it."""

from __future__ import annotations

import pytest

from tests.fixtures.models import TrainedModel
from tests.fixtures.receiver import Receiver
from tests.fixtures.servers import Service, wait_for

pytestmark = pytest.mark.services


def test_a_finished_job_calls_its_receiver(
    service: Service, trained_models: dict[str, TrainedModel], receiver: Receiver
) -> None:
    receiver.answers += [503]  # the first call fails, and is made again
    fields = {"base_model": "tiny", "strategy": "frozen", "head": "linear", "export": {"precision": "fp32"}}
    dataset_id = trained_models["classification"].dataset["id"]
    job_id = service.submit(
        dataset_id, "hooked", **fields, hyperparameters={"head_epochs": 1}, webhook_url=receiver.url
    ).json()["id"]
    job = service.wait_for_job(job_id)
    assert job["status"] == "succeeded", (job, service.log)

    wait_for(lambda: len(receiver.calls) >= 3, what="the calls")
    told = [call.verified() for call in receiver.calls]

    assert sorted(payload["type"] for payload in told) == ["job.running", "job.running", "job.succeeded"]
    assert len({call.id for call in receiver.calls}) == 2
    last = next(payload for payload in told if payload["type"] == "job.succeeded")
    assert last["data"] == {
        "id": job_id, "status": "succeeded", "model": "hooked", "version": 1, "attempt": 1, "error": None,
    }  # fmt: skip

    def settled() -> bool:
        deliveries = service.client.get(f"/jobs/{job_id}/webhooks").json()["data"]
        return [(one["type"], one["status"]) for one in deliveries] == [
            ("job.running", "delivered"), ("job.succeeded", "delivered"),
        ]  # fmt: skip

    wait_for(settled, what="deliveries that say so")
    service.client.delete("/models/hooked")
