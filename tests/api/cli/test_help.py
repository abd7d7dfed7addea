"""Every command explains itself, quickly, and says the same as the service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from api.cli import app, options
from models_store.specs import Promotion, Strategy
from models_store.tasks import TaskName
from tests.api.test_imports import fresh

HEAVY = ("fastapi", "sqlalchemy", "pydantic", "numpy", "pyarrow", "httpx", "thawline", "celery")


def commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command and group."""
    yield path
    for name, child in getattr(group, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = list(commands(get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=[" ".join(path) or "thawline" for path in COMMANDS])
def test_each_command_has_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_the_commands() -> None:
    assert {
        ("serve",), ("api",), ("worker",), ("migrate",), ("train",), ("predict",),
        *(("datasets", name) for name in ("upload", "validate", "show", "list", "delete")),
        *(("jobs", name) for name in ("list", "show", "watch", "cancel", "pause", "resume")),
        *(("models", name) for name in ("list", "show", "promote", "rollback", "export")),
    } <= set(COMMANDS)  # fmt: skip


@pytest.mark.parametrize("path", [path for path in COMMANDS if path and path[0] in ("datasets", "jobs", "models")])
def test_each_command_that_asks_the_service_can_answer_in_json(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).stdout

    assert len(path) == 1 or all(option in shown for option in ("--json", "--url", "--api-key"))


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, api.cli; print([name for name in {HEAVY} if name in sys.modules])"

    assert fresh(code) == "[]"


def test_options_name_what_the_service_knows() -> None:
    from api.cli.train import Promote
    from api.cli.train import Strategy as StrategyOption

    assert list(map(str, options.Task)) == list(map(str, TaskName))
    assert list(map(str, StrategyOption)) == list(map(str, Strategy))
    assert set(map(str, Promote)) == set(map(str, Promotion))


def test_pairs() -> None:
    assert options.pairs(["text=a=b"], "--column") == {"text": "a=b"}
    with pytest.raises(typer.BadParameter, match="name=value"):
        options.pairs(["text"], "--column")
