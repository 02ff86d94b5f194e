"""Fetch the light curves of one shard from one archive."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.config import load_run
from lightloom.fetch import fetch_shard
from lightloom.logs import job_logging

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        run = load_run(snakemake.config)
        fetch_shard(
            shard_path=Path(snakemake.input.shard),
            part_path=Path(snakemake.output.part),
            status_path=Path(snakemake.output.status),
            spec=run.archives[snakemake.params.archive],
            key=snakemake.params.key,
            dask_config=run.dask,
            threads=snakemake.threads,
            mem_mb=snakemake.resources.mem_mb,
            allow_partial=run.allow_partial,
            attempt=snakemake.resources.attempt,
        )
