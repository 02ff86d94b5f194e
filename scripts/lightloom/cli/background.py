"""``lightloom submit``, ``lightloom submitted`` and ``lightloom cancel``."""

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option(help="Results folder of the run.")]


def submit(
    target: Annotated[str, typer.Argument(help="What to make.")] = "all",
    options: Annotated[
        list[str] | None,
        typer.Argument(help="Options of Snakemake, after `--`; without any `--cores all`."),
    ] = None,
    results: Results = Path("results"),
    nowait: Annotated[
        bool, typer.Option("--nowait", help="Return at once; the run goes on.")
    ] = False,
) -> None:
    """Start a run that outlives this shell and the login.

    Without `--nowait` the command waits and ends as the run does; Ctrl-C ends the waiting, not
    the run.

    Example: `lightloom submit --nowait lightcurves -- --profile profiles/slurm`
    """
    from lightloom.background import BackgroundRun
    from lightloom.background import submit as submit_run

    process = submit_run(results, target, options or [])
    run = BackgroundRun.read(results)
    typer.echo(f"process {run.pid}, log {run.log}")
    if nowait:
        return
    try:
        code = process.wait()
    except KeyboardInterrupt:
        typer.echo(
            "the run goes on; `lightloom submitted` tells how it is, `lightloom cancel` ends it"
        )
        raise typer.Exit(130) from None
    typer.echo(run.describe())
    raise typer.Exit(code)


def submitted(results: Results = Path("results")) -> None:
    """Say whether the submitted run is running, and how far it is.

    Example: `lightloom submitted`
    """
    from lightloom.background import BackgroundRun

    typer.echo(BackgroundRun.read(results).describe())


def cancel(results: Results = Path("results")) -> None:
    """End the submitted run and all its jobs, in a queue as well; the next run goes on.

    Example: `lightloom cancel`
    """
    from lightloom.background import BackgroundRun

    ended = BackgroundRun.read(results).cancel()
    typer.echo("ended" if ended else "it was not running")
