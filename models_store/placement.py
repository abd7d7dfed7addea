"""Which workers get a job, and when."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    """How urgent a job is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


PRIORITIES = {Priority.LOW: -1, Priority.NORMAL: 0, Priority.HIGH: 1}


class QueueName(StrEnum):
    """Whose jobs a worker takes, beside those for which any worker will do."""

    CPU = "cpu"
    GPU = "gpu"
