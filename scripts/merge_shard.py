"""Merge the parts of all archives for one shard, and write its piece of the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.config import load_run
from lightloom.logs import job_logging
from lightloom.merge import Part, merge_shard

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        keys = snakemake.params.part_keys
        files = zip(keys, snakemake.input.parts, snakemake.input.statuses, strict=True)
        merge_shard(
            shard_path=Path(snakemake.input.shard),
            parts=[
                Part(archive, Path(part), Path(status), keys[archive])
                for archive, part, status in files
            ],
            catalogue=snakemake.params.catalogue,
            lightcurves_path=Path(snakemake.output.lightcurves),
            ledger_path=Path(snakemake.output.ledger),
            allow_partial=load_run(snakemake.config).allow_partial,
        )
