"""Write what to cite and acknowledge."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightloom.citations import write_citations
from lightloom.config import load_run
from lightloom.logs import job_logging

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    with job_logging(snakemake.log[0], attempt=snakemake.resources.attempt):
        write_citations(
            ledger_path=Path(snakemake.input.ledger),
            archives=load_run(snakemake.config).archives,
            bibtex_path=Path(snakemake.output.bibtex),
            text_path=Path(snakemake.output.text),
        )
