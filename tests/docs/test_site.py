"""The documentation's site: it builds strictly, asks no other host, and has a row or an example for everything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from api.main import create_app
from api.openapi import operations
from models_store.settings import Settings
from scripts.docs.pages import without_links_outside
from tests.fixtures.servers import ROOT

# What a browser fetches by itself; a link that a reader follows may lead anywhere.
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


class Targets(HTMLParser):
    """What a page fetches, and where it links to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in FETCHED and (target := values.get(FETCHED[tag])):
            if values.get("rel") != "canonical":
                self.fetched.append(target)
        elif tag == "a" and (target := values.get("href")):
            self.links.append(target)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make docs` builds into."""
    output = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "scripts.docs", "--output", str(output)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return output


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[str, Targets]:
    site = built / "site"
    return {path.relative_to(site).as_posix(): Targets(path) for path in site.rglob("*.html")}


def test_make_docs_is_what_is_built_here() -> None:
    recipe = subprocess.run(["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "python -m scripts.docs" in recipe


def test_a_page_fetches_nothing_from_another_host(pages: dict[str, Targets], built: Path) -> None:
    assert len(pages) > 40
    for name, page in pages.items():
        assert page.fetched
        assert [target for target in page.fetched if urlsplit(target).netloc] == [], name
    for sheet in (built / "site").rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_what_a_page_fetches_and_links_to_is_there(pages: dict[str, Targets], built: Path) -> None:
    for name, page in pages.items():
        for target in page.fetched + page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or not parts.path or name == "404.html":
                continue
            assert ((built / "site" / name).parent / unquote(parts.path)).resolve().exists(), (name, target)


def navigation(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, dict) else node
    return [page for child in children for page in navigation(child)]


def test_every_page_is_in_the_navigation(built: Path) -> None:
    pages = {path.relative_to(built / "docs").as_posix() for path in (built / "docs").rglob("*.md")}
    listed = navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])

    assert len(listed) == len(set(listed))
    assert set(listed) - pages == set()
    assert {page for page in pages - set(listed) if not page.startswith("decisions/")} == set()


def test_the_reference_has_a_section_with_a_call_for_every_operation(built: Path) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (built / "docs" / "reference").glob("*.md"))
    document = create_app(Settings()).openapi()

    for _, operation in operations(document):
        name = operation["operationId"]
        assert pages.count(f"{{#{name.lower()}}}") == 1, name
        section = pages.partition(f"{{#{name.lower()}}}")[2].partition("\n## ")[0]
        assert "```sh\ncurl -s" in section, name
        assert "Answer, `" in section or "204" in operation["responses"] or name == "exportModelVersion", name


def test_every_parameter_and_every_member_of_a_body_has_a_meaning(built: Path) -> None:
    for path in (built / "docs" / "reference").glob("*.md"):
        if path.name == "objects.md":  # of answers, where many a name says enough
            continue
        assert re.findall(r"^\| .* \| +\|$", path.read_text(encoding="utf-8"), re.MULTILINE) == [], path.name


def test_every_object_of_an_answer_has_a_section(built: Path) -> None:
    reference = built / "docs" / "reference"
    known = set(re.findall(r"\{#(\w+)\}", (reference / "objects.md").read_text(encoding="utf-8")))
    linked = {
        anchor
        for path in reference.glob("*.md")
        for anchor in re.findall(r"objects\.md#(\w+)", path.read_text(encoding="utf-8"))
    }
    assert {"jobout", "progressout", "datasetout"} <= known
    assert {"jobout", "datasetout"} <= linked <= known


def test_the_calls_of_the_reference_are_shell(built: Path) -> None:
    for path in (built / "docs" / "reference").glob("*.md"):
        for call in re.findall(r"^```sh\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            checked = subprocess.run(["bash", "-n"], input=call, text=True, capture_output=True, check=False)
            assert checked.returncode == 0, call


def test_the_page_of_settings_has_a_row_for_each(built: Path) -> None:
    page = (built / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(THAWLINE_[A-Z_]+)` \| (.+?) \| (.*?) \| (.+?) \|$", page, re.MULTILINE)

    assert [name for name, *_ in rows] == [f"THAWLINE_{field.upper()}" for field in Settings.model_fields]
    assert ("THAWLINE_PORT", "whole number, at least 0, at most 65535", "`8000`") in {row[:3] for row in rows}
    assert str(Path.home()) not in page


@pytest.mark.parametrize(
    ("text", "folder", "shown"),
    [
        ("see [the code](../api/main.py)", "", "see the code"),
        ("see [serving](../serving.md#on-a-gpu)", "guides", "see [serving](../serving.md#on-a-gpu)"),
        ("see [the sample](../../examples/README.md)", "tutorials", "see the sample"),
        ("![a picture](../picture.svg)", "guides", "![a picture](../picture.svg)"),
    ],
)
def test_links_that_leave_the_site_are_words(text: str, folder: str, shown: str) -> None:
    assert without_links_outside(text, PurePosixPath(folder)) == shown


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[nowhere](nowhere.md)\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: Test\n", encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(tmp_path / "mkdocs.yml")]

    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0
