"""``lightloom freeze``."""

from pathlib import Path
from typing import Annotated

import typer


def freeze(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Published samples, for config/samples; none: the sources of the run."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again for what is frozen already.")
    ] = False,
    configfile: Annotated[
        list[Path] | None, typer.Option(help="As for snakemake; may be repeated.")
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="key=value, as for snakemake; may be repeated.")
    ] = None,
    directory: Annotated[Path, typer.Option(help="Folder of the Snakefile.")] = Path(),
) -> None:
    """Ask services for targets, and keep their answers as tables.

    Without names, for every source of the sample that has to be asked for: the next run uses these
    answers. With names, for published samples, so that no run has to ask for them.

    Example: `lightloom freeze --refresh --configfile config/live.yaml`
    """
    from contextlib import chdir

    from lightloom.config_files import load_project
    from lightloom.resolvers.keeping import freeze_published, freeze_sources

    overlays = [path.resolve() for path in configfile or ()]
    with chdir(directory):
        run = load_project(Path(), overlays, config or ())
        if names:
            kept = freeze_published(run, names, Path("config/samples"), refresh=refresh)
        else:
            kept = iter(freeze_sources(run, refresh=refresh))
        for one in kept:
            typer.echo(one)
