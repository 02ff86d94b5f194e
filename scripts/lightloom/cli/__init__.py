"""The command ``lightloom``: one module per command, listed here.

A command imports what it needs when it runs, so that ``lightloom --help`` stays quick.
"""

from typing import Annotated

import typer

import lightloom
from lightloom.cli import (
    background,
    cite,
    cluster,
    crate,
    diff,
    docs,
    export,
    freeze,
    plan,
    status,
    summary,
    watch,
    why,
)
from lightloom.errors import LightloomError

app = typer.Typer(
    name="lightloom",
    help="Light curves of a sample of targets from the public archives.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="freeze")(freeze.freeze)
app.command(name="summary")(summary.summary)
app.command(name="plan")(plan.plan)
app.command(name="status")(status.status)
app.command(name="why")(why.why)
app.command(name="diff")(diff.diff)
app.command(name="cite")(cite.cite)
app.command(name="crate")(crate.crate)
app.command(name="export")(export.export)
app.command(name="watch")(watch.watch)
app.command(name="submit")(background.submit)
app.command(name="submitted")(background.submitted)
app.command(name="cancel")(background.cancel)
app.add_typer(cluster.app, name="cluster")
app.command(name="config-docs", hidden=True)(docs.config_docs)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(lightloom.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Light curves of a sample of targets from the public archives."""


def main() -> None:
    """Run the command line; an error that is meant for the user ends it with its message alone."""
    try:
        app()
    except LightloomError as error:
        message = str(error)
    except OSError as error:
        # Without the name of a file it is no mistake of the user.
        if error.filename is None:
            raise
        message = (
            f"{error.filename}: found {error.strerror!r}, expected a path that can be read or"
            " written; name another one, or make its folder"
        )
    else:
        return
    typer.echo(f"lightloom: {message}", err=True)
    raise SystemExit(1)
