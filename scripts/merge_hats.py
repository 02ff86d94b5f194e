"""Write the light curves of all shards as a HATS catalogue."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.hats_export import ShardFiles, write_hats
from lightloom.logs import job_logging

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        files = zip(snakemake.input.shards, snakemake.input.lightcurves, strict=True)
        write_hats(
            shards=[ShardFiles(Path(shard), Path(lightcurves)) for shard, lightcurves in files],
            sample_path=Path(snakemake.input.sample),
            catalog_path=Path(snakemake.output.catalog),
        )
