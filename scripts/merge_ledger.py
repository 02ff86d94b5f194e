"""Put the ledgers of all shards together."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.merge import merge_ledger

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        merge_ledger(
            pieces=[Path(piece) for piece in snakemake.input.pieces],
            sample_path=Path(snakemake.input.sample),
            catalogue=snakemake.params.catalogue,
            ledger_path=Path(snakemake.output.ledger),
        )
