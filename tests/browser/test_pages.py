"""Every page: fit for keyboards and screen readers, in both themes, on a phone; small, and quick with many events."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts import web_types
from tests.browser.conftest import serious_violations
from tests.fixtures.models import TrainedModel
from tests.fixtures.servers import Service

pytestmark = pytest.mark.services

MOST_BYTES = 200_000


@pytest.fixture
def places(trained_models: dict[str, TrainedModel]) -> dict[str, str]:
    """A page of each kind by its heading."""
    one = trained_models["tagging"]
    return {
        "Data sets": "datasets",
        one.dataset["name"]: f"datasets/{one.dataset['id']}",
        "Jobs": "jobs",
        "New job": f"jobs/new?dataset={one.dataset['id']}",
        one.name: f"jobs/{one.job['id']}",
        "Models": "models",
        f"{one.name} ": f"models/{one.name}",
        f"{one.name}@1": f"models/{one.name}/1",
        "Playground": f"playground?model={one.name}",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_from_using_it(page: Page, places: dict[str, str], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for heading, place in places.items():
        page.goto(f"/#/{place}")
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading.strip())
        page.wait_for_load_state("networkidle")
        assert serious_violations(page) == [], place


def test_nothing_is_wider_than_a_phone(page: Page, places: dict[str, str]) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for heading, place in places.items():
        page.goto(f"/#/{place}")
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading.strip())
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, place


def test_the_first_page_is_small(page: Page, service: Service) -> None:
    loaded: list[str] = []
    page.on("response", lambda answer: loaded.append(answer.url) if answer.ok else None)
    page.goto("/")
    page.wait_for_load_state("networkidle")
    assert sum(len(gzip.compress(service.client.get(url).content)) for url in loaded) < MOST_BYTES


def test_the_keyboard_alone_will_do(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1, name="Data sets")).to_be_visible()
    page.get_by_role("link", name="Jobs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_visible()
    expect(page.get_by_role("main")).to_be_focused()
    assert page.title().startswith("Jobs")


def test_a_theme_is_chosen_and_remembered(page: Page) -> None:
    page.goto("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    page.get_by_label("Colours").select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = page.evaluate(ground)
    page.reload()
    expect(page.get_by_label("Colours")).to_have_value("dark")
    page.get_by_label("Colours").select_option("light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(ground) != dark


def test_of_two_thousand_events_the_newest_are_shown(page: Page, trained_models: dict[str, TrainedModel]) -> None:
    job = trained_models["classification"].job["id"]
    line = (
        'id: {n}\nevent: metrics\ndata: {{"id": {n}, "object": "job.event", "created_at": "2026-01-01T00:00:00Z", '
        '"level": "info", "type": "metrics", "message": "epoch {n}", "data": {{"phase": "{phase}", "epoch": {n}, '
        '"train_loss": 0.5, "validation_loss": 0.5, "metrics": {{"accuracy": 0.5}}}}}}\n\n'
    )
    stream = "".join(line.format(n=n, phase="head" if n < 1000 else "full") for n in range(1, 2001))
    told = iter([200])

    def answer(route: object) -> None:
        status = next(told, 204)
        route.fulfill(status=status, content_type="text/event-stream", body=stream if status == 200 else "")  # type: ignore[attr-defined]

    page.route(f"**/jobs/{job}/events", answer)
    page.goto(f"/#/jobs/{job}")
    expect(page.locator(".events li").first).to_contain_text("epoch 2000")
    expect(page.locator(".events li")).to_have_count(50)
    page.get_by_role("button", name="Show all 2000").click()
    expect(page.locator(".events li")).to_have_count(2000)


def test_a_service_with_a_key_asks_for_it(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    locked = Service(tmp_path_factory.mktemp("locked"), {"THAWLINE_API_KEY": "open sesame, please"})
    locked.start()
    try:
        page = browser.new_page(base_url=f"http://127.0.0.1:{locked.port}")
        page.goto("/")
        page.get_by_label("This service wants an API key").fill("open sesame, please")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_text("None yet.", exact=False)).to_be_visible()
        page.close()
    finally:
        locked.stop()
        locked.client.close()


def test_the_types_of_the_page_are_those_of_the_service(tmp_path: Path) -> None:
    web_types.main(tmp_path / "openapi.d.ts")
    assert (tmp_path / "openapi.d.ts").read_text() == web_types.TYPES.read_text()  # else: python -m scripts.web_types
