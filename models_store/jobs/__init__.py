"""Jobs: every change of a job's state, and nowhere else.

    queued ──claim──► running ──► succeeded | failed | cancelled
     ▲  │             │  ▲ │
     │  └─► paused ◄──┼──┼─┴─► pausing
     │        │       │  └────────┘ (resumed before it had stopped)
     ├────────┘       │
     └── lease lost ──┘  (release or sweep)

A job is claimed by one guarded UPDATE that raises `attempt` and sets a lease on the database's clock. `attempt` is
the fencing token: every later write repeats ``AND attempt = :mine AND status IN ('running', 'pausing')``, so a worker
that was taken for dead and wakes again changes nothing.
"""

from models_store.jobs.asking import (
    pause,
    request_cancel,
    resume,
    retry,
    submit,
    submitted_before,
)
from models_store.jobs.doing import (
    Claim,
    Wish,
    cancelled,
    claim,
    fail,
    has_published,
    heartbeat,
    most_urgent,
    release,
    succeed,
)
from models_store.jobs.looking import attempts, count_by_status, events, get, list_jobs, positions
from models_store.jobs.planning import Estimate, Step, estimate, next_version, steps
from models_store.jobs.sweeping import mark_enqueued, sweep, unheard
from models_store.jobs.webhooks import Answer, Delivery, claim_delivery, count_pending, deliveries, settle
from models_store.jobs.writing import NewEvent

__all__ = [
    "Answer",
    "Claim",
    "Delivery",
    "Estimate",
    "NewEvent",
    "Step",
    "Wish",
    "attempts",
    "cancelled",
    "claim",
    "claim_delivery",
    "count_by_status",
    "count_pending",
    "deliveries",
    "estimate",
    "events",
    "fail",
    "get",
    "has_published",
    "heartbeat",
    "list_jobs",
    "mark_enqueued",
    "most_urgent",
    "next_version",
    "pause",
    "positions",
    "release",
    "request_cancel",
    "resume",
    "retry",
    "settle",
    "steps",
    "submit",
    "submitted_before",
    "succeed",
    "sweep",
    "unheard",
]
