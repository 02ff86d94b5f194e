"""Tell whether searches for moving objects are left to repeat."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.config import load_run
from lightloom.logs import job_logging
from lightloom.moving.merge import check_moving

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        check_moving(
            ledger_path=Path(snakemake.input.ledger),
            summary_path=Path(snakemake.output.summary),
            allow_partial=load_run(snakemake.config).allow_partial,
        )
