"""``lightloom diff``."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from lightloom.diff import Summary

#: Exit codes, as those of diff (POSIX).
EQUAL, DIFFERENT, TROUBLE = 0, 1, 2


def diff(
    old: Annotated[Path, typer.Argument(help="Results folder of a finished run.")],
    new: Annotated[Path, typer.Argument(help="That of a later run, or of a later release.")],
    output: Annotated[
        Path | None, typer.Option(help="File for every difference: .parquet, .ecsv or .csv.")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Column whose changes do not count; may be given again."),
    ] = None,
    targets: Annotated[
        int, typer.Option(min=0, help="How many of the targets with most differences are listed.")
    ] = 20,
) -> None:
    """Say which points are new, changed or withdrawn, and which states have changed.

    Exit code: 0 if nothing differs, 1 if something does, 2 if the runs cannot be compared.

    Example: `lightloom diff results-dr1 results-dr2 --output changes.ecsv`
    """
    from collections import deque

    from rich.console import Console

    from lightloom.diff import Comparison, Summary
    from lightloom.diff_files import check_output, write_differences
    from lightloom.errors import LightloomError

    summary = Summary(targets)
    try:
        if output is not None:
            check_output(output)
        differences = summary.counted(Comparison(old, new, ignore or ()).differences())
        if output is None:
            deque(differences, maxlen=0)
        else:
            write_differences(output, differences)
    except LightloomError as error:
        typer.echo(f"lightloom: {error}", err=True)
        raise typer.Exit(TROUBLE) from None
    Console().print(render(summary, output))
    raise typer.Exit(DIFFERENT if summary.by_archive else EQUAL)


def render(summary: "Summary", output: Path | None) -> "Group | str":
    """Return the differences as tables for the terminal."""
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from lightloom.diff import CHANGES

    if not summary.by_archive:
        return "no differences"

    def table(*names: str) -> Table:
        made = Table(box=None, pad_edge=False)
        for name in names:
            made.add_column(name, overflow="fold")
        for change in CHANGES:
            made.add_column(change, justify="right", no_wrap=True)
        return made

    def numbers(counts: Counter[str]) -> list[str]:
        return [str(counts[change]) for change in CHANGES]

    archives = table("archive")
    for archive, counts in sorted(summary.by_archive.items()):
        archives.add_row(archive, *numbers(counts))
    archives.add_row("all", *numbers(summary.total), style="bold")
    most = table("target", "archive")
    for objectid, archive, counts in summary.most:
        most.add_row(Text(objectid), archive, *numbers(counts))
    shown: list[RenderableType] = [archives, Text("")]
    if summary.most:
        shown += [most, Text("")]
    where = f"all of them stand in {output}" if output else "--output FILE writes all of them"
    return Group(*shown, Text(where))
