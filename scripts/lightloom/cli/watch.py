"""``lightloom watch``."""

import logging
import shlex
import signal
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import typer

from lightloom.watch import DEFAULT_COMMAND, Waits
from lightloom.watch import watch as watch_inboxes


def watch(
    inbox: Annotated[list[Path], typer.Argument(help="Folders of tables.")],
    command: Annotated[str, typer.Option(help="What to run.")] = shlex.join(DEFAULT_COMMAND),
    settle_s: Annotated[
        float, typer.Option(help="Start when nothing has changed for so long [s].")
    ] = Waits.settle_s,
    longest_s: Annotated[
        float, typer.Option(help="Start so long after the first change at the latest [s].")
    ] = Waits.longest_s,
    retry_s: Annotated[
        float,
        typer.Option(help="Try a failed run again after so long, then after ever longer [s]."),
    ] = Waits.retry_s,
) -> None:
    """Start a run whenever a table arrives in an inbox, one run at a time.

    Example: `lightloom watch inbox --command "snakemake --cores 4"`
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    try:
        watch_inboxes(inbox, shlex.split(command), Waits(settle_s, longest_s, retry_s), stop)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
