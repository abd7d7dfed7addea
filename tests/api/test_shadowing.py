"""Shadows: nobody waits for them, nobody is refused because of them, and what they say is counted."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from api import shadow_book
from api.calls import Results
from api.predictors import Choice
from api.shadowing import Answered, Shadows
from models_store import aliases, registry, shadows
from models_store.aliases import Traffic
from models_store.database import Database
from models_store.errors import ArtifactCorruptError, InvalidInputError, OverloadedError
from models_store.registry import Route
from models_store.settings import Settings
from models_store.tables import ModelVersion, ShadowFigures
from models_store.tasks import Encoded, Prediction
from models_store.tasks.classification import ClassificationTask
from tests.api.conftest import AppFactory
from tests.api.test_models import publish as publish_with_folder
from tests.api.test_models import services
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service, wait_for
from tests.models_store.samples import publish

TASK = ClassificationTask(("a", "b"))
Ask = Callable[[ModelVersion, Sequence[Any]], Awaitable[list[Prediction]]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_book, "_WRITE_SECONDS", 0.01)


@pytest.fixture
def route(db: Database) -> Route:
    """Production is version 2, with version 1 in its shadow."""
    for _ in range(2):
        publish(db)
    with db.transaction() as session:
        aliases.set_alias(session, "intent", "production", Traffic(2, shadow=1))
        return registry.route(session, "intent")


def answered(route: Route, *inputs: Any) -> Answered:
    """A call whose inputs were all answered with `a`."""
    return Answered(route, TASK, inputs, [{"label": "a", "score": 0.9} for _ in inputs])


def saying(*labels: str) -> Ask:
    async def ask(version: ModelVersion, inputs: Sequence[Any]) -> list[Prediction]:
        assert version.version == 1
        return [{"label": label, "score": 0.5} for label in labels[: len(inputs)]]

    return ask


def failing(error: Exception) -> Ask:
    async def ask(version: ModelVersion, inputs: Sequence[Any]) -> list[Prediction]:
        raise error

    return ask


def figures(db: Database, route: Route) -> ShadowFigures:
    with db.reading() as session:
        row = shadows.figures(session, route.change)
    assert row is not None
    return row


def counts(db: Database, route: Route) -> tuple[int, int, int, int]:
    row = figures(db, route)
    return row.compared, row.disagreed, row.dropped, row.failed


async def settled(following: Shadows) -> None:
    """Until all that was asked of shadows is done."""
    await asyncio.gather(*following._running)


def run(db: Database, steps: Callable[[Shadows], Awaitable[None]], **settings: Any) -> None:
    """The steps on an event loop, to whose end all that was asked of shadows is done and written."""

    async def main() -> None:
        following = Shadows(db, Settings(_env_file=None, **settings))
        await steps(following)
        await settled(following)
        following.close()

    asyncio.run(main())


# ---- what is counted ------------------------------------------------------------------------------------------------


def test_answers_are_compared_and_counted(db: Database, route: Route) -> None:
    async def steps(following: Shadows) -> None:
        following.follow(answered(route, "x", "y", "z"), saying("a", "b", "a"))
        following.follow(answered(route, "x"), saying("a"))

    run(db, steps)

    assert counts(db, route) == (4, 1, 0, 0)


def test_an_alias_without_a_shadow_costs_nothing(db: Database, route: Route) -> None:
    async def steps(following: Shadows) -> None:
        following.follow(answered(Route(route.primary), "x"), failing(AssertionError("asked")))
        following.follow(answered(route), failing(AssertionError("asked about nothing")))

    run(db, steps)

    assert counts(db, route) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("settings", "examples"),
    [
        ({}, []),
        (
            {"shadow_examples": 2},
            [
                {"input": "y" * 200 + "…", "version": "a", "shadow": "b"},
                {"input": {"text": "p", "text_pair": "q"}, "version": "a", "shadow": "b"},
            ],
        ),
    ],
)
def test_texts_are_stored_only_where_the_operator_lets_them_be(
    db: Database, route: Route, settings: dict[str, Any], examples: list[Any]
) -> None:
    async def steps(following: Shadows) -> None:
        inputs = ("x", "y" * 300, {"text": "p", "text_pair": "q"}, "z")
        following.follow(answered(route, *inputs), saying("b", "b", "b", "a"))

    run(db, steps, **settings)

    assert counts(db, route) == (4, 3, 0, 0)
    assert figures(db, route).examples == examples


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_shadow_that_is_busy_is_not_waited_for(db: Database, route: Route) -> None:
    async def steps(following: Shadows) -> None:
        go_on = asyncio.Event()

        async def slow(version: ModelVersion, inputs: Sequence[Any]) -> list[Prediction]:
            await go_on.wait()
            return await saying("a", "a")(version, inputs)

        following.follow(answered(route, "x", "y"), slow)  # returns, though the shadow has not even begun
        following.follow(answered(route, "z"), slow)  # of 16 places an eighth is two
        go_on.set()

    run(db, steps, predict_queue_items=16)

    assert counts(db, route) == (2, 0, 1, 0)


def test_of_a_large_call_a_part_is_compared(db: Database, route: Route) -> None:
    async def steps(following: Shadows) -> None:
        following.follow(answered(route, *"abcdefgh"), saying(*"aaaaaaaa"))

    run(db, steps, predict_queue_items=16)

    assert counts(db, route) == (2, 0, 0, 0)


def test_while_too_many_texts_wait_shadows_are_left_out(db: Database, route: Route) -> None:
    async def steps(following: Shadows) -> None:
        following.follow(answered(route, "x", "y"), failing(OverloadedError("full", 1)))

    run(db, steps)

    assert counts(db, route) == (0, 0, 2, 0)


def test_a_shadow_that_fails_is_left_alone_for_a_while(db: Database, route: Route) -> None:
    async def steps(following: Shadows) -> None:
        following.follow(answered(route, "x"), failing(ArtifactCorruptError("its files are damaged")))
        await settled(following)
        following.follow(answered(route, "x", "y"), saying("a", "a"))

    run(db, steps)

    assert counts(db, route) == (0, 0, 2, 1)
    assert figures(db, route).last_error == "artifact_corrupt"


def test_an_input_that_the_shadow_does_not_take_says_nothing_of_the_next(db: Database, route: Route) -> None:
    async def steps(following: Shadows) -> None:
        following.follow(answered(route, "x"), failing(InvalidInputError("the text is empty")))
        await settled(following)
        following.follow(answered(route, "y"), saying("a"))

    run(db, steps)

    assert counts(db, route) == (1, 0, 0, 1)
    assert figures(db, route).last_error == "invalid_input"


def test_figures_wait_for_a_database_that_is_away(db: Database, route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    record, calls = shadows.record, []

    def away_at_first(*args: Any) -> None:
        calls.append(1)
        if len(calls) < 3:
            raise OperationalError("COMMIT", {}, ConnectionError("the server closed the connection"))
        record(*args)

    monkeypatch.setattr(shadows, "record", away_at_first)

    async def steps(following: Shadows) -> None:
        following.follow(answered(route, "x"), saying("b"))
        await asyncio.to_thread(wait_for, lambda: len(calls) >= 1, what="the first attempt to write")
        following.follow(answered(route, "y"), saying("a"))
        await asyncio.to_thread(wait_for, lambda: counts(db, route) == (2, 1, 0, 0), what="the figures")

    run(db, steps)

    assert counts(db, route) == (2, 1, 0, 0)  # and nothing twice


def test_a_change_of_the_alias_begins_anew(db: Database, route: Route) -> None:
    with db.transaction() as session:
        aliases.set_alias(session, "intent", "production", Traffic(2))
        aliases.set_alias(session, "intent", "production", Traffic(2, shadow=1))
        later = registry.route(session, "intent")

    async def steps(following: Shadows) -> None:
        following.follow(answered(route, "x"), saying("a"))  # a call that was under way
        following.follow(answered(later, "x", "y"), saying("a", "b"))

    run(db, steps)

    assert counts(db, route) == (1, 0, 0, 0)
    assert counts(db, later) == (2, 1, 0, 0)


# ---- in the application ---------------------------------------------------------------------------------------------


def test_a_shadow_that_hangs_takes_no_place_from_callers(
    start_app: AppFactory, service: Service, trained_models: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    client: TestClient = start_app(predict_queue_items=8)
    (trained,) = (service.home / "artifacts" / "models").glob(f"{trained_models['classification'].job['id']}.*")
    for folder in (publish_with_folder(client), publish_with_folder(client)):
        shutil.rmtree(folder)
        shutil.copytree(trained, folder)
    client.put("/models/intent/aliases/production", json={"version": 2, "shadow": 1})
    pool, hanging = services(client).predictors, []
    go = pool.run

    async def hang(wanted: Choice, encoded: Sequence[Encoded], seconds: float) -> Results:
        if wanted.version.version == 1:
            hanging.append(1)
            await asyncio.sleep(3600)
        return await go(wanted, encoded, seconds)

    monkeypatch.setattr(pool, "run", hang)
    body = {"inputs": ["where is my parcel"] * 8}  # all the places there are

    first = client.post("/predict/intent", json=body)
    wait_for(lambda: hanging, what="the shadow being asked")
    second = client.post("/predict/intent", json=body)

    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert [answer.json()["version"] for answer in (first, second)] == [2, 2]
    assert hanging == [1]  # the second call found it busy

    def dropped() -> bool:
        report = client.get("/models/intent/aliases/production").json()["shadow_report"]
        return bool(report["dropped"] == 1)  # an eighth of the places is one

    wait_for(dropped, what="the drop being counted")
