"""``lightloom cluster``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lightloom.cluster.shared import Status

app = typer.Typer(
    no_args_is_help=True,
    help="A Dask cluster on this machine that the jobs of a run share, with its dashboard.",
)

Folder = Annotated[Path, typer.Option(help="Folder of the cluster: scheduler file and logs.")]
_FOLDER = Path("results/cluster")


@app.command()
def start(
    folder: Folder = _FOLDER,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; by default one per core.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each worker.")] = 1,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Whoever reaches it can run code as you."),
    ] = "127.0.0.1",
    dashboard_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the dashboard; 0 takes a free one.")
    ] = 0,
) -> None:
    """Start a cluster in the background.

    Example: `lightloom cluster start --workers 4`
    """
    from dask.system import CPU_COUNT

    from lightloom.cluster import shared

    found = shared.start(
        folder,
        n_workers=workers or CPU_COUNT,
        threads_per_worker=threads,
        host=host,
        dashboard_port=dashboard_port,
    )
    _tell(found)
    typer.echo(f"use it with   dask: {{scheduler_file: {found.scheduler_file}}}")


@app.command()
def status(folder: Folder = _FOLDER) -> None:
    """Say where a cluster runs and what it has.

    Example: `lightloom cluster status`
    """
    from lightloom.cluster import shared

    _tell(shared.status(folder))


@app.command()
def stop(folder: Folder = _FOLDER) -> None:
    """End a cluster.

    Example: `lightloom cluster stop`
    """
    from lightloom.cluster import shared

    shared.stop(folder)
    typer.echo("ended")


def _tell(found: "Status") -> None:
    typer.echo(f"scheduler     {found.address}")
    typer.echo(f"dashboard     {found.dashboard}")
    typer.echo(
        f"workers       {found.n_workers}, {found.n_threads} threads,"
        f" {found.memory_bytes / 1e9:.1f} GB"
    )
