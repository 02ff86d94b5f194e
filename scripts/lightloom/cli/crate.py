"""``lightloom crate``."""

from pathlib import Path
from typing import Annotated

import typer


def crate(
    results: Annotated[Path, typer.Argument(help="Results folder of a finished run.")] = Path(
        "results"
    ),
    workflow: Annotated[Path, typer.Option(help="Folder of the Snakefile.")] = Path(),
    author: Annotated[str, typer.Option(help="Your name; wants --orcid.")] = "",
    orcid: Annotated[str, typer.Option(help="Your ORCID as a URL.")] = "",
) -> None:
    """Make the results folder a Workflow Run RO-Crate: where everything in it comes from.

    Example: `lightloom crate results --author "A. Name" --orcid https://orcid.org/0000-0001-2345-6789`
    """
    from lightloom.crate import Author, write_crate
    from lightloom.errors import LightloomError

    if bool(author) != bool(orcid):
        raise LightloomError("found one of --author and --orcid, expected both or none; add it")
    typer.echo(write_crate(results, workflow, Author(author, orcid) if author else None))
