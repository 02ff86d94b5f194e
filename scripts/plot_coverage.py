"""Draw the sky coverage and the states of the sample."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.plots.coverage import plot_coverage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        plot_coverage(
            sample_path=Path(snakemake.input.sample),
            ledger_path=Path(snakemake.input.ledger),
            figure_paths=[Path(path) for path in snakemake.output],
        )
