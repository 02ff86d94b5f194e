"""``lightloom cite``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """What is printed."""

    BIBTEX = "bibtex"
    TEXT = "text"
    BOTH = "both"


def cite(
    results: Annotated[Path, typer.Argument(help="Results folder of a finished run.")] = Path(
        "results"
    ),
    form: Annotated[Form, typer.Option(help="BibTeX, the acknowledgement, or both.")] = Form.BOTH,
) -> None:
    """Print what to cite and acknowledge: the archives that gave rows, and no others.

    Example: `lightloom cite results --form bibtex > references.bib`
    """
    from lightloom.citations import read_citations

    entries, text = read_citations(results)
    if form != Form.BIBTEX:
        typer.echo(text, nl=form == Form.BOTH)
    if form != Form.TEXT:
        typer.echo(entries, nl=False)
