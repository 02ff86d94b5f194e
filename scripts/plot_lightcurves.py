"""Draw the light curves of the targets with most rows."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.plots.lightcurves import plot_richest_lightcurves

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        plot_richest_lightcurves(
            sample_path=Path(snakemake.input.sample),
            ledger_path=Path(snakemake.input.ledger),
            lightcurve_paths={Path(path).stem: Path(path) for path in snakemake.input.lightcurves},
            figure_paths=[Path(path) for path in snakemake.output.figures],
            page_paths=[Path(path) for path in snakemake.output.pages],
        )
