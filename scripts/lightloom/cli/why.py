"""``lightloom why``."""

from pathlib import Path
from typing import Annotated

import typer


def why(
    objectid: Annotated[str, typer.Argument(help="The target, as the sample names it.")],
    mjd: Annotated[
        float | None,
        typer.Argument(
            help="Explain the row nearest to this time (MJD in TDB at the barycentre); without it,"
            " the state of the target in every archive.",
            show_default=False,
        ),
    ] = None,
    archive: Annotated[
        list[str] | None, typer.Option(help="Only this archive; may be repeated.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows, the nearest first.")] = 1,
    results: Annotated[Path, typer.Option(help="Results folder of a run.")] = Path("results"),
) -> None:
    """Say where a row, or the state of a target, comes from: query, service, release, code, time.

    Example: `lightloom why "WISEA J093730.32+260232.1" 58000.5 --archive ztf`
    """
    from lightloom.printing import printable
    from lightloom.why import explain

    found = explain(results, objectid, mjd, archives=archive or (), n_rows=rows)
    typer.echo(printable("\n\n".join(map(str, found))))
