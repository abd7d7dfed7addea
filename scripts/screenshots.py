"""Take the pictures of ``docs/images``, of a service that has learnt the samples.

python -m scripts.screenshots URL
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
TEXT = "Hello, I was charged twice for the same blender. Where do I get my money back?"
WIDTH, HEIGHT = 1200, 820
TALL = {"job": 1180, "dataset": 1240, "model": 900}


def places(url: str) -> dict[str, str]:
    """What is shown, by the name of its picture."""

    def newest(path: str, **wanted: Any) -> dict[str, Any]:
        rows = httpx.get(f"{url}{path}", params={"limit": 100}).json()["data"]
        found: dict[str, Any] = next(row for row in rows if wanted.items() <= row.items())
        return found

    job = newest("/jobs", task="classification", status="succeeded")
    return {
        "datasets": "datasets",
        "dataset": f"datasets/{newest('/datasets', task='tagging')['id']}",
        "new-job": f"jobs/new?dataset={job['dataset_id']}",
        "jobs": "jobs",
        "job": f"jobs/{job['id']}",
        "models": "models",
        "model": f"models/{job['model']['name']}",
        "playground": f"playground?model={job['model']['name']}",
    }


def take(page: Page, name: str, theme: str) -> None:
    """One picture."""
    if name == "playground":
        page.get_by_label("Text", exact=True).fill(TEXT)
        page.get_by_role("button", name="Predict").click()
        page.get_by_role("heading", name="Answer").wait_for()
    page.wait_for_load_state("networkidle")
    if name == "job":
        page.locator(".chart canvas").first.wait_for()
    page.screenshot(
        path=IMAGES / f"{name}-{theme}.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": TALL.get(name, HEIGHT)}
    )


def main(url: str) -> None:
    """Take all of them, in both themes."""
    IMAGES.mkdir(exist_ok=True)
    shown = places(url)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for theme in ("light", "dark"):
            for name, place in shown.items():
                size: Any = {"width": WIDTH, "height": TALL.get(name, HEIGHT)}
                page = browser.new_page(viewport=size, color_scheme=theme)
                page.goto(f"{url}/#/{place}")
                take(page, name, theme)
                page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
