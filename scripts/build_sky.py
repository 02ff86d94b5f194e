"""Build the embedded sky around a sample."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.sky.build import DEFAULT_SEED, build_sky

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        # The first output lies in the folder of a catalogue, which lies in that of the sky.
        build_sky(Path(snakemake.output[0]).parents[1], Path(snakemake.input.sample), DEFAULT_SEED)
