"""The documentation agrees with the repository: its links, its make targets and its table of settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from models_store.settings import Settings
from tests.fixtures.servers import ROOT

IGNORED = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines())]
FENCED = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*<?([^\s>]+)", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def markdown_files(folder: Path = ROOT) -> Iterator[Path]:
    """Every Markdown file of the repository, without what git ignores."""
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in IGNORED if pattern):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from markdown_files(path)
        elif path.suffix == ".md":
            yield path


DOCUMENTS = list(markdown_files())
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def links(text: str) -> list[str]:
    """The targets of the links; what stands in code is none."""
    prose = INLINE_CODE.sub("", FENCED.sub("", text))
    return [first or second for first, second in LINK.findall(prose)]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCED.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()  # of a link its text
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number, unique = 0, slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def make_targets(text: str) -> set[str]:
    """The targets of each `make …` in a code block or between backticks."""
    code = [block.group() for block in FENCED.finditer(text)]
    code += re.findall(r"^(?: {4}|\t).*$", text, re.MULTILINE)
    code += [span for _, span in INLINE_CODE.findall(FENCED.sub("", text))]
    return set(re.findall(r"^\s*(?:\$ )?make ([a-z][a-z-]*)", "\n".join(code), re.MULTILINE))


def defined_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", text_of(ROOT / "Makefile"), re.MULTILINE))


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def leads_somewhere(path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path
    if not file.is_relative_to(ROOT) or not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in anchors(text_of(file))


@each_document
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    local = [target for target in links(text_of(path)) if not ELSEWHERE.match(target)]

    assert [target for target in local if not leads_somewhere(path, target)] == []


@each_document
def test_make_targets_exist(path: Path) -> None:
    assert make_targets(text_of(path)) - defined_targets() == set()


def test_the_two_commands_and_the_checks_are_among_what_was_looked_at() -> None:
    # Were a pattern above to find nothing, the tests above would agree with anything.
    assert {"README.md", "CONTRIBUTING.md", "docs/deployment.md"} <= {str(p.relative_to(ROOT)) for p in DOCUMENTS}
    assert "CONTRIBUTING.md" in links(text_of(ROOT / "README.md"))
    assert {"demo", "test", "serve"} <= make_targets(text_of(ROOT / "README.md"))
    assert {"test", "check", "format", "lock"} <= make_targets(text_of(ROOT / "CONTRIBUTING.md"))
    assert {"the-three-calls", "what-to-upload"} <= anchors(text_of(ROOT / "README.md"))


def test_the_table_of_settings_names_each_of_them_and_no_other() -> None:
    rows = [line for line in section(text_of(ROOT / "README.md"), "Configuration").splitlines() if line.startswith("|")]
    named = [name for row in rows for name in re.findall(r"`(THAWLINE_[A-Z_]+)`", row.split("|")[1])]

    assert sorted(named) == sorted(f"THAWLINE_{field.upper()}" for field in Settings.model_fields)
