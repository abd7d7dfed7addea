"""The commands of the README and of `docs/` are run as they stand, page after page, against a real service.

A block ```sh is run; a block ```json behind it shows the answer of its last command, of which the names and the kinds
of values are compared. A block ```python is run, too. Whatever cannot be run here has another language. To be quick,
models are trained for a moment on a tiny encoder: their figures say nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.receiver import SECRET
from tests.fixtures.servers import ROOT, Service

pytestmark = pytest.mark.services

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:8000"
QUICK = (
    '"base_model": "tiny", "hyperparameters": {"head_epochs": 1, "full_epochs": 1}, "export": {"precision": "fp32"}, '
)
ROWS = 60  # of each sample file
ELSEWHERE = {"docs/client.md", "docs/cli.md"}  # whose commands have tests of their own
# Those of the README stand in these two pages as well; a test sees to that.
USES_THE_CLIENT = re.compile(r"^(thawline (?!serve)|import thawline$)", re.MULTILINE)
# The first three make models that others ask; other protocols ask those of all tutorials, and aliases are moved last.
FIRST = ["README.md", "docs/index.md", "docs/tutorials/classification.md"]
LAST = ["docs/protocols.md", "docs/versions.md"]
EXACT = {"object", "task", "status", "valid", "multi_label", "alias"}  # values that are compared
# What the code of a page takes for granted.
GIVEN = {
    "docs/webhooks.md": f"""\
import time
from models_store.signing import keys_of, sign
SECRET, body, now = {SECRET!r}, b'{{"type": "job.succeeded"}}', int(time.time())
headers = {{"webhook-id": "msg_1", "webhook-timestamp": str(now)}}
headers["webhook-signature"] = sign(keys_of(SECRET), "msg_1", now, body)
"""
}
# A call that is refused does not stop the page: it may be the point. What is not expected is told at the end.
# 23 is no refusal: whoever reads has seen enough, as `head` has.
PRELUDE = """\
set -u -o pipefail
curl() {
  command curl --fail-with-body "$@" && return
  local status=$?
  [ $status = 23 ] || echo "$*" >> refused
  return $status
}
"""


@dataclass(frozen=True)
class Block:
    """A code block of a page, with the answer that is shown behind it."""

    language: str
    code: str
    answer: Any = None


def blocks_of(page: str) -> list[Block]:
    found = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    blocks = []
    for index, (language, code) in enumerate(found):
        if language in ("sh", "python"):
            following = found[index + 1] if index + 1 < len(found) else ("", "")
            blocks.append(Block(language, code, json.loads(following[1]) if following[0] == "json" else None))
    return blocks


def pages() -> list[str]:
    every = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
    others = [page for page in every if page not in [*FIRST, *LAST, *ELSEWHERE]]
    return [page for page in [*FIRST, *others, *LAST] if blocks_of(page)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, encoders_dir: Path) -> Iterator[Service]:
    """A service of these pages' own: they count on its names and versions."""
    settings = {"THAWLINE_ENCODERS_DIR": str(encoders_dir), "THAWLINE_WEBHOOK_SECRET": SECRET}
    running = Service(tmp_path_factory.mktemp("service"), settings)
    running.start()
    yield running
    running.stop()
    running.client.close()


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """What a reader has, in a folder to write into: the beginnings of the sample files."""
    for path in (ROOT / "examples").glob("*/*.*"):
        parted = "\n\n" if path.suffix == ".conll" else "\n"  # no row of the sample tables has a line break
        beginning = path.read_text(encoding="utf-8").split(parted)[:ROWS]
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(parted.join(beginning) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("page", pages())
def test_the_commands_of_a_page(page: str, fresh: Service, workplace: Path) -> None:
    blocks = [block for block in blocks_of(page) if not USES_THE_CLIENT.search(block.code)]
    shell = [block for block in blocks if block.language == "sh"]
    outputs = run_shell([adapted(block.code, fresh) for block in shell], fresh, workplace)
    for block, (output, refused) in zip(shell, outputs, strict=True):
        expects_refusal = isinstance(block.answer, dict) and block.answer.get("status") in range(400, 600)
        assert bool(refused) == expects_refusal, (block.code, output, refused)
        if block.answer is not None:
            check(last_json(output), block.answer, block.code)
    for block in blocks:
        if block.language == "python":
            run_python(GIVEN.get(page, "") + adapted(block.code, fresh), workplace)


def adapted(code: str, service: Service) -> str:
    """With the address of the service at hand, and jobs that take a moment."""
    return code.replace(ADDRESS, f"127.0.0.1:{service.port}").replace('{"dataset_id": ', "{" + QUICK + '"dataset_id": ')


def run_shell(blocks: list[str], service: Service, folder: Path) -> list[tuple[str, str]]:
    """Run blocks in one shell; of each what it printed and the calls that were refused."""
    script = PRELUDE
    for index, code in enumerate(blocks):
        script += f": > refused\nexec > out-{index}\n{code}\ncp refused refused-{index}\n"
    environment = {**os.environ, "THAWLINE_HOME": str(service.home), "PYTHONWARNINGS": "error"}
    answer = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, text=True, capture_output=True, timeout=180, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    return [((folder / f"out-{i}").read_text(), (folder / f"refused-{i}").read_text()) for i in range(len(blocks))]


def run_python(code: str, folder: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, text=True, capture_output=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr


def last_json(output: str) -> Any:
    """The last JSON document of an output whose documents stand one behind the other."""
    decoder, place, found = json.JSONDecoder(), 0, None
    while (place := output.find("{", place)) >= 0:
        found, place = decoder.raw_decode(output, place)
    return found


def check(actual: Any, shown: Any, where: str) -> None:
    """What is shown may leave out a lot, but names nothing that is not there."""
    if isinstance(shown, dict):
        assert isinstance(actual, dict), (where, actual)
        for key, value in shown.items():
            assert key in actual, (where, key, actual)
            if key in EXACT and not isinstance(value, dict | list):
                assert actual[key] == value, (where, key, actual[key])
            check(actual[key], value, where)
    elif isinstance(shown, list) and shown:
        assert isinstance(actual, list), (where, actual)
        assert actual, (where, "an empty list in place of", shown)
        for index, item in enumerate(shown):
            check(actual[min(index, len(actual) - 1)], item, where)
    elif shown is not None and actual is not None:
        kinds = (int, float) if isinstance(shown, int | float) and not isinstance(shown, bool) else type(shown)
        assert isinstance(actual, kinds), (where, shown, actual)


def test_every_call_in_the_pages_is_one_that_is_run() -> None:
    # In a block of another language, or an indented one, it would not be.
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        if path.relative_to(ROOT).as_posix() in ELSEWHERE:
            continue
        rest = BLOCK.sub(
            lambda match: "" if match.group(1) in ("sh", "python") else match.group(), path.read_text(encoding="utf-8")
        )
        assert not re.search(r"^(    |\$ )?(curl|json) ", rest, re.MULTILINE), path


def test_the_pages_that_are_run_are_there() -> None:
    assert set(FIRST + LAST) <= set(pages())
    assert {"docs/tutorials/tagging.md", "docs/tutorials/similarity.md", "docs/guides/heads.md"} <= set(pages())
