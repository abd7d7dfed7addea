"""Chromium, and a page that hears of everything that goes wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fixtures.servers import ROOT, Service

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
expect.set_options(timeout=20_000)  # the machine is shared
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="package")  # and no longer: its event loop would be in the way of other tests' loops
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here; `make test-browser` installs it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """A page of the shared service; no error may be told in it, and nothing asked of another host."""
    here = f"http://127.0.0.1:{service.port}"
    context = browser.new_context(base_url=here, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    heard: list[str] = []
    # A refusal of the service is told as an error by the browser; the page then says what was refused.
    opened.on("console", lambda told: heard.append(told.text) if _is_error(told.type, told.text) else None)
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.on("request", lambda asked: None if asked.url.startswith((here, "blob:")) else heard.append(asked.url))
    yield opened
    context.close()
    assert heard == []


def _is_error(kind: str, text: str) -> bool:
    expected = ("the server responded with a status of 4", "net::ERR_FAILED", "net::ERR_UPLOAD_FILE_CHANGED")
    return kind in ("error", "warning") and not any(part in text for part in expected)


def serious_violations(page: Page) -> list[str]:
    """What axe-core finds on the page that would keep somebody from using it."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
