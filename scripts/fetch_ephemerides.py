"""Fetch the tracks of a block of objects."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.config import load_run
from lightloom.logs import job_logging
from lightloom.moving.fetch import fetch_ephemerides
from lightloom.moving.plan import load_moving_plan

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        run = load_run(snakemake.config)
        plan = load_moving_plan(run.moving, run.results)
        fetch_ephemerides(
            names=plan.blocks[snakemake.wildcards.block],
            windows=plan.windows,
            config=run.moving,
            status_path=Path(snakemake.output.status),
            state=plan.results / ".services",
            dask_config=run.dask,
            threads=snakemake.threads,
            mem_mb=snakemake.resources.mem_mb,
        )
