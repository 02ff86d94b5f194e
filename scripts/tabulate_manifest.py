"""List the data files of the run with their digests."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.logs import job_logging
from lightloom.manifest import remove_other_shards, write_manifest

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        results = Path(snakemake.output.manifest).parent
        lightcurves = [Path(path) for path in snakemake.input.lightcurves]
        remove_other_shards(results / "lightcurves", lightcurves)
        write_manifest(
            results=results,
            data_paths=[Path(path) for path in snakemake.input.data],
            lightcurve_paths=lightcurves,
            ledger_path=Path(snakemake.input.ledger),
            manifest_path=Path(snakemake.output.manifest),
        )
