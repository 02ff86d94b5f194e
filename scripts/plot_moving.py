"""Draw the moving objects of a block."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.moving.merge import read_rows
from lightloom.moving.plots import plot_objects

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        ephemerides, matches = Path(snakemake.input.ephemerides), Path(snakemake.input.matches)
        status = json.loads(matches.read_text())
        folder = Path(snakemake.output[0])
        folder.mkdir(parents=True)
        plot_objects(
            status=status,
            ephemerides=json.loads(ephemerides.read_text()),
            ephemerides_folder=ephemerides.parent,
            rows=read_rows(matches.parent, status["records"]),
            folder=folder,
        )
