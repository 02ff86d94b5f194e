"""``lightloom status``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from lightloom.board import Board


def status(
    results: Annotated[Path, typer.Argument(help="Results folder of a run.")] = Path("results"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew until all is done; end with Ctrl-C.")
    ] = False,
    interval_s: Annotated[
        float, typer.Option(min=0.5, help="Time between two looks with --watch [s].")
    ] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say how far a run is: what is done, running or failed, how fast, until when.

    Exit code: 0 if all is done, 3 if a search has failed, 4 if something is left to do and nothing
    has failed, 1 if there is no run.

    Example: `lightloom status results --watch`
    """
    import json

    from rich.console import Console
    from rich.live import Live

    from lightloom.board import INCOMPLETE, BoardReader

    reader = BoardReader(results)
    board = reader.read()
    if as_json:
        typer.echo(json.dumps(board.as_dict(), indent=1))
        raise typer.Exit(board.exit_code)
    console = Console()
    if watch:
        try:
            with Live(render(board), console=console, auto_refresh=False) as live:
                while board.exit_code == INCOMPLETE or board.running:
                    time.sleep(interval_s)
                    board = reader.read()
                    live.update(render(board), refresh=True)
        except KeyboardInterrupt:
            raise typer.Exit(board.exit_code) from None
    else:
        console.print(render(board))
    raise typer.Exit(board.exit_code)


def render(board: "Board") -> "Group":
    """Return the board as tables for the terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from lightloom.board import JOB_STATES
    from lightloom.progress import duration

    archives = Table(box=None, pad_edge=False)
    archives.add_column("archive", no_wrap=True)
    for name in ("targets", "failed"):
        archives.add_column(name, justify="right", no_wrap=True)
    archives.add_column("jobs")
    for name in ("requests", "MB", "targets/s"):
        archives.add_column(name, justify="right", no_wrap=True)
    for one in board.archives:
        archives.add_row(
            one.archive,
            f"{one.done}/{one.targets}",
            Text(str(one.failed or ""), style="bold red"),
            ", ".join(f"{one.jobs[state]} {state}" for state in JOB_STATES if one.jobs[state]),
            str(one.requests),
            f"{one.bytes / 1e6:.1f}",
            "" if one.targets_per_s is None else f"{one.targets_per_s:.3g}",
        )
    services = Table(box=None, pad_edge=False)
    for name in ("service", "archives", "requests under way", "failures in a row", "state"):
        services.add_column(name)
    for service in board.services:
        state = "answers"
        if service.left_alone_until:
            state = f"left alone until {service.left_alone_until}"
        if service.breaker_open:
            state = f"down; {state}"
        services.add_row(
            service.service,
            ", ".join(service.archives),
            str(service.under_way),
            str(service.failures),
            state,
        )
    done = sum(one.done for one in board.archives)
    total = sum(one.targets for one in board.archives)
    left_s = board.seconds_left
    lines = [
        f"{done} of {total} searches done, {board.failed} failed, {board.running} jobs running;"
        f" {board.merged_shards} of {board.shards} shards merged"
    ]
    if done < total:
        left = "unknown before the first job has ended"
        if left_s is not None:
            left = f"about {duration(left_s)} with {max(1, board.running)} jobs at a time"
        lines.append(f"time left for the searches: {left}")
    if board.failed:
        lines.append(
            "what failed is asked for again by the same snakemake command; the ledger and"
            " `lightloom why OBJECTID` say why it failed"
        )
    elif board.finished:
        lines.append("finished: `lightloom summary` says what was found and where it lies")
    return Group(archives, Text(""), services, Text(""), Text("\n".join(lines)))
