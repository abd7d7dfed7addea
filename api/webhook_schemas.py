"""What travels over HTTP about webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.examples import shown_as
from models_store.tables import DeliveryStatus, WebhookDelivery


class WebhookDeliveryOut(BaseModel):
    """Something that a job's receiver is to be told, and how far that has got."""

    model_config = shown_as("webhook_delivery")

    id: Annotated[str, Field(description="The header `webhook-id`, the same in each attempt")]
    object: Literal["webhook.delivery"] = "webhook.delivery"
    job_id: str
    type: Annotated[str, Field(description="Such as `job.succeeded`")]
    url: str
    payload: Annotated[str, Field(description="The body, to the letter")]
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Annotated[datetime | None, Field(description="None once it is delivered or given up")]
    last_status: Annotated[int | None, Field(description="The HTTP status of the latest attempt")]
    last_error: Annotated[str | None, Field(description="Why the latest attempt had no answer")]
    created_at: datetime
    delivered_at: datetime | None

    @classmethod
    def of(cls, row: WebhookDelivery) -> WebhookDeliveryOut:
        """The delivery of a table row."""
        waits = row.status == DeliveryStatus.PENDING
        return cls.model_validate({**row.model_dump(), "next_attempt_at": row.next_attempt_at if waits else None})
