"""The command line ``thawline``. Nothing heavy is imported before a command runs, so that ``--help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli import datasets, jobs, models, operating, predict, train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they may hold texts and keys
    help="Train text models and serve them.",
    epilog="Exit status: 0 done, 1 the job failed or was cancelled, 2 usage or configuration, 3 the data, or some of "
    "its rows, are refused, 4 not found, 5 the service is unavailable, 130 Ctrl-C.",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"thawline {version('thawline')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version, and end")
    ] = False,
) -> None:
    """Options of no command."""


for command in (operating.serve, operating.api, operating.worker, operating.migrate):
    app.command(rich_help_panel="Run the service")(command)
app.add_typer(datasets.app, name="datasets", rich_help_panel="Use it")
train.register(app)
app.add_typer(jobs.app, name="jobs", rich_help_panel="Use it")
app.add_typer(models.app, name="models", rich_help_panel="Use it")
predict.register(app)


if __name__ == "__main__":
    app()
