"""``thawline models``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import Session, command

if TYPE_CHECKING:
    import thawline

app = typer.Typer(no_args_is_help=True, help="Look at models, choose the version that answers, take one along.")
Name = Annotated[str, typer.Argument(help="Of the model")]
AliasOption = Annotated[str, typer.Option("--alias", help="production is what a bare name means")]


class Format(StrEnum):
    """What an export is for."""

    ONNX = "onnx"
    TRITON = "triton"


@command(app, "list")
def list_models(session: Session) -> None:
    """List all models by name."""
    found = list(session.client.models())
    rows = [(m.name, m.task, len(m.versions), _aliases(m), m.created_at) for m in found]
    session.out.rows([model.raw for model in found], ("name", "task", "versions", "aliases", "created"), rows)


@command(app)
def show(session: Session, name: Name) -> None:
    """Show the versions of a model side by side."""
    model = session.client.model(name).info()
    if session.out.as_json:
        session.out.json(dict(model.raw))
        return
    aliases = {v.version: ", ".join(a for a, at in model.aliases.items() if at == v.version) for v in model.versions}
    names = list(dict.fromkeys(metric for v in model.versions for metric in _metrics(v)))
    rows = [
        [v.version, aliases[v.version], v.strategy, v.head, *(_metrics(v).get(m) for m in names), v.created_at]
        for v in model.versions
    ]
    header = ("version", "aliases", "strategy", "head", *names, "created")
    session.out.table(header, rows, title=f"{model.name} · {model.task}")


@command(app)
def promote(
    session: Session,
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="The version that is to answer")],
    alias: AliasOption = "production",
) -> None:
    """Let an alias point at a version."""
    model = session.client.model(name).promote(version, alias)
    session.out.done(model.raw, f"{name}@{version}", f"{name}@{alias} is version {version} now")


@command(app)
def rollback(session: Session, name: Name, alias: AliasOption = "production") -> None:
    """Let an alias point at what it pointed at before."""
    found = session.client.model(name).rollback(alias)
    session.out.done(found.raw, f"{name}@{found.version}", f"{name}@{alias} is version {found.version} again")


@command(app)
def export(
    session: Session,
    reference: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="By default the one in production")],
    out: Annotated[Path, typer.Option(help="A file, or a folder")] = Path(),
    format: Annotated[Format, typer.Option(help="triton is a model repository")] = Format.ONNX,
) -> None:
    """Download a version's files as a ZIP archive."""
    name, version = _resolved(session, reference)
    path = session.client.model(name).export(version, out, format=format)
    raw = {"path": str(path), "model": name, "version": version, "size_bytes": path.stat().st_size}
    session.out.done(raw, str(path), f"{name}@{version} is in {path}")


def _resolved(session: Session, reference: str) -> tuple[str, int]:
    """Name and version of ``name``, ``name@3`` or ``name@alias``."""
    name, _, wanted = reference.partition("@")
    if wanted.isdecimal():
        return name, int(wanted)
    aliases, alias = session.client.model(name).info().aliases, wanted or "production"
    if alias not in aliases:
        known = ", ".join(sorted(aliases)) or "none"
        raise typer.BadParameter(f"{name} has no alias {alias!r}; it has: {known}", param_hint="NAME[@VERSION]")
    return name, aliases[alias]


def _aliases(model: thawline.ModelInfo) -> str:
    return ", ".join(f"{alias}={version}" for alias, version in sorted(model.aliases.items()))


def _metrics(version: thawline.Version) -> dict[str, float]:
    """Those of the test rows or, where there are none, of the validation rows."""
    return version.metrics.get("test") or version.metrics.get("validation") or {}
