"""Draw coverage, epochs, cadence and distances of the matches of each archive."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.plots.archives import plot_archives

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        radii_arcsec = snakemake.params.radii_arcsec
        plot_archives(
            sample_path=Path(snakemake.input.sample),
            ledger_path=Path(snakemake.input.ledger),
            lightcurve_paths=[Path(path) for path in snakemake.input.lightcurves],
            radii_arcsec=radii_arcsec,
            figure_paths=dict(zip(radii_arcsec, map(Path, snakemake.output), strict=True)),
        )
