"""Published samples that are frozen as tables of the repository, so that no service is needed."""

from pathlib import Path

import yaml

from lightloom.config import LiteratureSource, TableSource
from lightloom.config_schema import SCHEMAS
from lightloom.errors import SampleError
from lightloom.suggest import did_you_mean

#: Folder of the frozen tables and of their list.
FROZEN = SCHEMAS.parent / "samples"


def frozen_table(source: LiteratureSource, folder: Path = FROZEN) -> tuple[TableSource, Path]:
    """Return the frozen table of a published sample.

    Parameters
    ----------
    source : LiteratureSource
        Its name or bibcode, and which targets to keep.
    folder : pathlib.Path
        Where ``literature.yaml`` and the tables are.

    Returns
    -------
    table : TableSource
        Named ``literature:<name>``, wherever its file is.
    file : pathlib.Path

    Raises
    ------
    SampleError
        If the sample is not in the list, or not frozen.
    """
    known = yaml.safe_load((folder / "literature.yaml").read_text(encoding="utf-8"))
    by_bibcode = {entry["bibcode"]: name for name, entry in known.items()}
    name = by_bibcode.get(source.name, source.name)
    if name not in known:
        nearest = did_you_mean(source.name, [*known, *by_bibcode])
        raise SampleError(
            f"literature: found {source.name!r}{nearest or ','} expected one of"
            f" {', '.join(sorted(known))}, or a bibcode of theirs"
        )
    entry, file = known[name], folder / f"{name}.csv"
    if not file.exists():
        raise SampleError(
            f"literature: {name} ({entry['bibcode']}) is not frozen, its coordinates do not come"
            f" with Lightloom; to freeze it, write them to config/samples/{name}.csv with the"
            " columns name, ra, dec (ICRS, deg), and add origin and date to"
            " config/samples/literature.yaml"
        )
    table = TableSource(
        "table",
        f"literature:{name}",
        "ra",
        "dec",
        id="name",
        label=source.label or entry["title"],
        unit="deg",
        cone=source.cone,
        moc=source.moc,
        max_targets=source.max_targets,
    )
    return table, file
