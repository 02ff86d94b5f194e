"""Put the matches of all moving objects together."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.moving.merge import merge_moving

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        merge_moving(
            statuses=[Path(status) for status in snakemake.input.statuses],
            n_expected=snakemake.params.n_states,
            matches_path=Path(snakemake.output.matches),
            lightcurves_path=Path(snakemake.output.lightcurves),
            labelled_path=Path(snakemake.output.labelled),
            ledger_path=Path(snakemake.output.ledger),
        )
