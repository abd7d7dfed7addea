"""Collects what the site is made of: `docs/` as it is, and the pages that are made of the program."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from api.main import create_app
from models_store.settings import Settings
from scripts.docs.configuration import configuration_page
from scripts.docs.reference import reference_pages

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^# (.+)$", re.MULTILINE)


def collect(root: Path, target: Path) -> None:
    """Write every page of the site into a folder, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "docs", target)
    for page in target.rglob("*.md"):
        place = PurePosixPath(page.relative_to(target).as_posix()).parent
        page.write_text(without_links_outside(page.read_text(encoding="utf-8"), place), encoding="utf-8")
    for name, text in made_pages(root):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def made_pages(root: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each page that is made rather than written."""
    yield "configuration.md", configuration_page(Settings)
    yield "decisions/index.md", decisions_page(root / "docs" / "decisions")
    yield from reference_pages(create_app(Settings()).openapi())


def decisions_page(folder: Path) -> str:
    """A list of the decision records."""
    lines = ["# Decisions", "", "Why Thawline is as it is: what was decided, and what followed from it.", ""]
    for path in sorted(folder.glob("[0-9]*.md")):
        title = _HEADING.search(path.read_text(encoding="utf-8"))
        lines.append(f"- [{title.group(1) if title else path.stem}]({path.name})")
    return "\n".join(lines) + "\n"


def without_links_outside(text: str, place: PurePosixPath) -> str:
    """The text with the links that leave `docs/` as plain words: the site has nothing there.

    Args:
        text: Of a page.
        place: Its folder, seen from `docs/`.
    """

    def shown(match: re.Match[str]) -> str:
        words, target = match.groups()
        ups = sum(part == ".." for part in PurePosixPath(target).parts)
        return words if ups > len(place.parts) else match.group()

    return _LINK.sub(shown, text)
