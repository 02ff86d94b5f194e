"""``lightloom plan``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from lightloom.forecast import Estimate, Forecast

#: Exit code if the run would be over a limit of the configuration.
REFUSED = 3


def plan(
    pilot: Annotated[
        int,
        typer.Option(
            min=0, help="Fetch so many shards first, to measure; the run does not fetch them again."
        ),
    ] = 0,
    cores: Annotated[int, typer.Option(min=1, help="Cores that Snakemake will be given.")] = 1,
    configfile: Annotated[
        list[Path] | None, typer.Option(help="As for snakemake; may be repeated.")
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="key=value, as for snakemake; may be repeated.")
    ] = None,
    directory: Annotated[Path, typer.Option(help="Folder of the Snakefile.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what a run will ask, read, take and cost, and refuse one over the limits in `plan`.

    Exit code: 3 if a limit would be exceeded, or cannot be judged without a pilot.

    Example: `lightloom plan --pilot 2 --cores 8 --configfile config/live.yaml`
    """
    import json
    import os
    from contextlib import chdir
    from dataclasses import asdict

    from rich.console import Console

    from lightloom.config_files import load_project
    from lightloom.forecast import excesses, forecast, pilot_shards
    from lightloom.plan import sync_plan

    overlays = [path.resolve() for path in configfile or ()]
    with chdir(directory):
        run = load_project(Path(), overlays, config or ())
        made = sync_plan(run)
        if pilot:
            wanted = [
                f"{run.results}/lightcurves/{name}.parquet" for name in pilot_shards(made, pilot)
            ]
            _run_pilot(wanted, cores, overlays, config or [])
        expected = forecast(run, made, cores)
        over = excesses(expected, run.caps)
    if as_json:
        totals = {"hours": expected.hours, "gigabytes": expected.gigabytes, "cost": expected.cost}
        content = {**asdict(expected), **totals, "peak_mb": expected.peak_mb, "refused": over}
        typer.echo(json.dumps(content, indent=1))
    else:
        width = None if os.isatty(1) else 120
        Console(width=width).print(render(expected))
    for line in over:
        typer.echo(f"lightloom: {line}", err=True)
    raise typer.Exit(REFUSED if over else 0)


def _run_pilot(wanted: list[str], cores: int, overlays: list[Path], settings: list[str]) -> None:
    import subprocess
    import sys

    from lightloom.errors import LightloomError

    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--quiet", "all"]
    command += ["--configfile", *map(str, overlays)] if overlays else []
    command += ["--config", *settings] if settings else []
    ended = subprocess.run([*command, "--", *wanted], check=False)
    if ended.returncode:
        raise LightloomError(
            f"the pilot: found exit code {ended.returncode} of Snakemake, expected 0; its messages"
            " above say which job failed. Run the same command again, or enable fewer archives"
        )


def render(expected: "Forecast") -> "Group":
    """Return the forecast as a table for the terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from lightloom.progress import duration

    table = Table(box=None, pad_edge=False)
    table.add_column("archive")
    for name in ("jobs", "left", "pieces", "requests", "MB", "job time", "memory MB"):
        table.add_column(name, justify="right")
    for one in expected.archives:
        table.add_row(
            one.archive,
            str(one.jobs),
            str(one.jobs_left),
            _count(one.pieces),
            _count(one.requests),
            "?" if one.bytes is None else f"{one.bytes.expected / 1e6:.1f}",
            "?" if one.job_s is None else duration(one.job_s.expected),
            "?" if one.job_mb is None else f"{one.job_mb:.0f}",
        )
    lines = [
        f"{expected.targets} targets in {expected.shards} shards;"
        " '~' is expected from the pilot, all other numbers are exact; '?' wants a pilot",
        f"reads {expected.gigabytes:.3g} GB, which costs {expected.cost:.2f} at"
        f" {expected.price_per_gb:g} per GB",
        f"takes about {duration(3600 * expected.hours)} with {expected.cores} cores,"
        f" and {expected.peak_mb:.0f} MB in the largest job",
    ]
    if expected.unknown:
        lines.append(
            f"no shard of {', '.join(expected.unknown)} is finished, so that these count as"
            " nothing: `lightloom plan --pilot 2` measures"
        )
    return Group(table, Text(""), Text("\n".join(lines)))


def _count(number: "Estimate | None") -> str:
    if number is None:
        return "?"
    if number.is_exact:
        return f"{number.expected:.0f}"
    return f"~{number.expected:.0f} ({number.low:.0f} to {number.high:.0f})"
