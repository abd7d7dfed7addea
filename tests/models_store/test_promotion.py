"""Promotion: what becomes production when a job ends, and that the job's result says so truthfully."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models_store import aliases, jobs
from models_store.aliases import Canary, Traffic
from models_store.database import Database
from models_store.jobs import Claim
from models_store.registry import PRODUCTION
from models_store.reports import Comparison
from tests.models_store.samples import VERSION, alias_versions, claim, publish, submit


def compared(old: float | None, new: float = 0.9, *, version: int = 1, obstacle: str | None = None) -> dict[str, Any]:
    """What the training found, as it stands in its result."""
    return Comparison(
        compared_with=version, metric="accuracy", new=new, old=old, split="test", rows=50, obstacle=obstacle
    ).model_dump()


def end(db: Database, mine: Claim, comparison: dict[str, Any] | None) -> dict[str, Any]:
    """End a job; what its result says of the promotion."""
    jobs.succeed(db, mine, result={"head": "linear", "promotion": comparison}, version=VERSION)
    result = jobs.get(db, mine.job_id).result
    assert result is not None
    assert result["head"] == "linear"
    told: dict[str, Any] = result["promotion"]
    return told


def start(db: Database, promote: str = "if_better") -> Claim:
    return claim(db, submit(db, promote=promote).id)


def production(db: Database) -> int | None:
    with db.reading() as session:
        return alias_versions(session, "intent").get(PRODUCTION)


def newest_message(db: Database, mine: Claim) -> tuple[str, str]:
    event = next(e for e in reversed(jobs.events(db, mine.job_id)) if e.type == "message")
    return event.level, event.message


def test_a_better_version_is_promoted(db: Database) -> None:
    publish(db)
    mine = start(db)

    told = end(db, mine, compared(old=0.8))

    assert production(db) == 2
    assert told == {
        "asked": "if_better", "promoted": True,
        "reason": "it is better on 50 test rows: accuracy 0.9000, version 1 has 0.8000",
        "compared_with": 1, "metric": "accuracy", "new": 0.9, "old": 0.8, "split": "test", "rows": 50,
        "obstacle": None,
    }  # fmt: skip
    assert newest_message(db, mine) == ("info", f"version 2 was promoted: {told['reason']}")


@pytest.mark.parametrize("old", [0.9, 0.95])
def test_one_that_is_as_good_or_worse_is_not(db: Database, old: float) -> None:
    publish(db)
    mine = start(db)

    told = end(db, mine, compared(old))

    assert production(db) == 1
    assert (told["promoted"], told["new"], told["old"]) == (False, 0.9, old)
    assert newest_message(db, mine)[0] == "info"
    assert "version 2 was not promoted: it is not better" in newest_message(db, mine)[1]
    assert jobs.get(db, mine.job_id).version == 2  # it is there all the same


def test_the_first_version_is_promoted_whatever_it_is_worth(db: Database) -> None:
    told = end(db, start(db), None)

    assert production(db) == 1
    assert (told["promoted"], told["reason"]) == (True, "there was no production version")


def test_one_that_cannot_be_compared_with_stays(db: Database) -> None:
    publish(db)
    mine = start(db)

    told = end(db, mine, compared(None, obstacle="its files are gone"))

    assert (production(db), told["promoted"], told["obstacle"]) == (1, False, "its files are gone")
    assert newest_message(db, mine) == (
        "warning", "version 2 was not promoted: it could not be compared with version 1: its files are gone"
    )  # fmt: skip


@pytest.mark.parametrize("comparison", [compared(old=0.1), None])
def test_nothing_takes_the_place_of_a_version_that_it_was_not_compared_with(db: Database, comparison: Any) -> None:
    publish(db)
    mine = start(db)
    publish(db)  # another job was faster, and its version is in production now

    told = end(db, mine, comparison)

    assert (production(db), told["promoted"]) == (2, False)
    assert newest_message(db, mine)[0] == "warning"
    assert "version 2, now in production, came there during the training" in told["reason"]


def test_where_production_is_gone_by_the_end_the_version_takes_its_place(db: Database) -> None:
    publish(db)
    mine = start(db)
    with db.transaction() as session:
        aliases.delete_alias(session, "intent", PRODUCTION)

    assert end(db, mine, compared(old=0.99))["promoted"] is True
    assert production(db) == 2


def test_a_promotion_ends_a_canary(db: Database) -> None:
    publish(db)
    publish(db)
    with db.transaction() as session:
        aliases.set_alias(session, "intent", PRODUCTION, Traffic(1, Canary(2, 0.1), shadow=2))

    assert end(db, start(db), compared(old=0.8))["promoted"] is True

    with db.reading() as session:
        assert aliases.state(session, "intent", PRODUCTION).traffic == Traffic(3)


def test_of_jobs_that_end_at_once_one_takes_the_place_of_what_both_were_compared_with(db: Database) -> None:
    publish(db)
    claims, together = [start(db) for _ in range(4)], threading.Barrier(4)

    def finish(mine: Claim) -> tuple[bool, int | None]:
        together.wait()
        told = end(db, mine, compared(old=0.8))
        return told["promoted"], jobs.get(db, mine.job_id).version

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(finish, claims))

    assert [version for promoted, version in ends if promoted] == [production(db)]


@pytest.mark.parametrize(("promote", "version"), [("always", 2), ("never", 1)])
def test_jobs_that_leave_nothing_open_say_nothing_of_it(db: Database, promote: str, version: int) -> None:
    publish(db)
    mine = start(db, promote)

    jobs.succeed(db, mine, result={"promotion": None}, version=VERSION)

    assert production(db) == version
    assert jobs.get(db, mine.job_id).result == {"promotion": None}
