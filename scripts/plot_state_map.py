"""Draw the state of every target in every archive."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.plots.statemap import plot_state_map

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        plot_state_map(
            ledger_path=Path(snakemake.input.ledger),
            figure_paths=[Path(path) for path in snakemake.output],
        )
