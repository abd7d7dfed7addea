"""Which version answers: what a name means, and how an alias shares its calls out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.resolving import VersionResolver, drawn
from models_store import aliases
from models_store.aliases import Canary, Traffic
from models_store.database import Database
from models_store.errors import NotFoundError
from models_store.registry import Route
from models_store.tables import ModelVersion
from tests.models_store.samples import publish


def share_out(db: Database, **traffic: Any) -> None:
    with db.transaction() as session:
        aliases.set_alias(session, "intent", "production", Traffic(**traffic))


# ---- what a name means ----------------------------------------------------------------------------------------------


def test_a_promotion_by_this_process_is_seen_at_once(db: Database) -> None:
    publish(db)
    resolver = VersionResolver(db)
    assert asyncio.run(resolver.resolve("intent")).version == 1

    publish(db)
    resolver.forget()

    assert asyncio.run(resolver.resolve("intent")).version == 2


def test_a_name_that_was_looked_up_costs_no_query(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(db)
    resolver = VersionResolver(db)
    first = asyncio.run(resolver.resolve("intent"))

    def no_query(*_: object) -> None:
        raise AssertionError("asked the database again")

    monkeypatch.setattr(db, "reading", no_query)
    assert asyncio.run(resolver.resolve("intent")) is first


def test_what_was_not_found_is_looked_for_again(db: Database) -> None:
    resolver = VersionResolver(db)
    with pytest.raises(NotFoundError):
        asyncio.run(resolver.resolve("intent"))

    publish(db)

    assert asyncio.run(resolver.resolve("intent")).version == 1


def test_an_alias_means_its_canary_and_its_shadow_as_well(db: Database) -> None:
    for _ in range(3):
        publish(db)
    share_out(db, version=1, canary=Canary(2, 0.25), shadow=3)
    resolver = VersionResolver(db)

    route = asyncio.run(resolver.route("intent"))

    assert (route.primary.version, route.weight) == (1, 0.25)
    assert (route.canary and route.canary.version, route.shadow and route.shadow.version) == (2, 3)
    assert route.change is not None
    assert asyncio.run(resolver.resolve("intent")) is route.primary


def test_a_version_by_its_number_is_neither_shared_out_nor_followed(db: Database) -> None:
    for _ in range(2):
        publish(db)
    share_out(db, version=1, canary=Canary(2, 0.25), shadow=2)

    route = asyncio.run(VersionResolver(db).route("intent@1"))

    assert (route.primary.version, route.canary, route.shadow, route.change) == (1, None, None, None)


# ---- how an alias shares its calls out ------------------------------------------------------------------------------


def version(number: int) -> ModelVersion:
    return ModelVersion(
        model="intent", version=number, job_id=f"job_{number}", dataset_id="ds", task="classification",
        artifact=f"models/{number}", base_model="tiny", strategy="hybrid", head="linear", metrics={}, size_bytes=1,
    )  # fmt: skip


PRIMARY, CANARY, OTHER = version(1), version(2), version(3)
KEYS = [f"user-{number}" for number in range(2000)]


def having(canary: ModelVersion, weight: float) -> set[str]:
    """The keys whose calls the canary answers."""
    route = Route(PRIMARY, canary, weight)
    return {key for key in KEYS if drawn(route, key) is canary}


def test_without_a_canary_there_is_nothing_to_draw() -> None:
    assert drawn(Route(PRIMARY)) is drawn(Route(PRIMARY), "user-1") is PRIMARY


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5, 0.9])
def test_keys_are_shared_out_by_the_weight(weight: float) -> None:
    deviation = (len(KEYS) * weight * (1 - weight)) ** 0.5

    assert len(having(CANARY, weight)) == pytest.approx(len(KEYS) * weight, abs=4 * deviation)


def test_a_key_gets_the_same_version_every_time() -> None:
    assert having(CANARY, 0.5) == having(CANARY, 0.5)


def test_who_had_the_canary_keeps_it_when_its_share_grows() -> None:
    assert having(CANARY, 0.1) < having(CANARY, 0.2) < having(CANARY, 0.9)


def test_the_next_canary_is_tried_by_others() -> None:
    assert having(CANARY, 0.1) != having(OTHER, 0.1)


def test_without_a_key_chance_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    lots = iter([0.0, 0.29, 0.3, 0.99])
    monkeypatch.setattr("random.random", lambda: next(lots))

    assert [drawn(Route(PRIMARY, CANARY, 0.3)) for _ in range(4)] == [CANARY, CANARY, PRIMARY, PRIMARY]


@pytest.mark.parametrize("key", ["", "ünïcode", "half a pair \ud800"])
def test_any_text_is_a_key(key: str) -> None:
    assert drawn(Route(PRIMARY, CANARY, 0.5), key) in (PRIMARY, CANARY)
