"""``lightloom summary``."""

from pathlib import Path
from typing import Annotated

import typer


def summary(
    results: Annotated[Path, typer.Argument(help="Results folder of a finished run.")] = Path(
        "results"
    ),
) -> None:
    """Say in a few lines what a run found and where it lies.

    Example: `lightloom summary results`
    """
    from lightloom.summary import summarise

    typer.echo(summarise(results))
