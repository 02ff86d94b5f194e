"""Say in a few lines what a run found and where it lies."""

import json
from pathlib import Path
from typing import Any

from lightloom.errors import ResultError

_PLACES = (
    ("lightcurves", "light curves, a Parquet dataset"),
    ("hats/lightcurves", "the same as a HATS catalogue, one row per target"),
    ("ledger.parquet", "how the search of every target in every archive ended"),
    ("report", "figures and tables (snakemake --report report.html binds them)"),
)


def read_manifest(results: Path) -> dict[str, Any]:
    """Read the manifest of a finished run.

    Raises
    ------
    ResultError
        If there is none.
    """
    path = results / "manifest.json"
    if not path.exists():
        raise ResultError(
            f"{path}: not found, expected the manifest of a finished run; run"
            " `snakemake --cores all` to the end, or name its results folder"
        )
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def summarise(results: Path) -> str:
    """Return the number of targets, the states per archive, and what to open.

    Parameters
    ----------
    results : Path
        The results folder of a finished run.
    """
    manifest = read_manifest(results)
    lines = [f"{manifest['targets']} targets, {manifest['rows']} light-curve rows"]
    for archive, entry in manifest["archives"].items():
        states = ", ".join(f"{count} {state}" for state, count in sorted(entry["states"].items()))
        lines.append(f"  {archive:<12} {entry['rows']:>9} rows   {states}")
    width = max(len(str(results / place)) for place, _ in _PLACES)
    lines.append("Open:")
    lines += [f"  {results / place!s:<{width}}  {what}" for place, what in _PLACES]
    return "\n".join(lines)
