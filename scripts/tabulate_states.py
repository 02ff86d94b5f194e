"""Write the page of states, cost and failures."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.plots.states import tabulate_states

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        tabulate_states(
            ledger_path=Path(snakemake.input.ledger),
            status_paths=[Path(path) for path in snakemake.input.statuses],
            titles=snakemake.params.titles,
            page_path=Path(snakemake.output.page),
        )
