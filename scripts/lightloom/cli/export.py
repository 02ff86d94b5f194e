"""``lightloom export``."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    path: Annotated[
        Path, typer.Argument(help="File to write: .parquet, .ecsv, .fits, .vot, or a HATS folder.")
    ],
    results: Annotated[Path, typer.Option(help="Results folder of a finished run.")] = Path(
        "results"
    ),
    format_: Annotated[
        str | None,
        typer.Option("--format", help="parquet, hats, ecsv, fits or votable; else by the suffix."),
    ] = None,
    objectid: Annotated[
        list[str] | None, typer.Option(help="Only this target; may be given again.")
    ] = None,
    archive: Annotated[
        list[str] | None, typer.Option(help="Only this archive; may be given again.")
    ] = None,
    band: Annotated[
        list[str] | None, typer.Option(help="Only this band; may be given again.")
    ] = None,
    view: Annotated[
        str, typer.Option(help="Which rows: all, clean, detections, events, or an archive's own.")
    ] = "all",
) -> None:
    """Write light curves into one file for other tools.

    Example: `lightloom export curves.fits --archive ztf --view clean`
    """
    from lightloom.export import ExportSource
    from lightloom.export import export as write
    from lightloom.printing import printable
    from lightloom.read import Dataset, Selection

    def chosen(names: list[str] | None) -> tuple[str, ...] | None:
        return tuple(names) if names else None

    selection = Selection(chosen(objectid), chosen(archive), chosen(band), view)
    n_rows = write(ExportSource(Dataset(results), selection), path, format_)
    typer.echo(printable(f"{path}: {n_rows} rows"))
