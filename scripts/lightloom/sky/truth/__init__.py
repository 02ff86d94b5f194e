"""What a search of the embedded sky must find, computed without the code that is to be tested.

Matches are found on the whole catalogues at once; times and fluxes are converted by
astropy and ERFA.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import coordinates, healpix_cells
from lightloom.sky.targets import Target
from lightloom.sky.truth import catalogues as parquet
from lightloom.sky.truth import services
from lightloom.sky.truth.matching import Catalogue, Footprint, Found

__all__ = ["LIGHTCURVES", "STATES", "Catalogue", "Footprint", "compute_truth"]

LIGHTCURVES = pa.schema(
    [
        described_field("objectid", pa.string(), "target"),
        described_field("archive", pa.string(), "name of the archive"),
        described_field("band", pa.string(), "such as g, BP or W1"),
        described_field("time_mjd", pa.float64(), "time as catalogued, as MJD", "d"),
        described_field("time_scale", pa.string(), "its scale"),
        described_field("time_ref", pa.string(), "the place to which it refers"),
        described_field("time_mjd_tdb", pa.float64(), "TDB at the barycentre", "d"),
        described_field("flux_mjy", pa.float64(), "flux density", "mJy"),
        described_field("flux_err_mjy", pa.float64(), "its 1-sigma error", "mJy"),
        described_field("native_value", pa.float64(), "value as catalogued, in the archive's unit"),
        described_field("native_err", pa.float64(), "its 1-sigma error"),
        described_field("native_unit", pa.string(), "unit of both"),
        described_field("flags_native", pa.int64(), "the archive's flags"),
        described_field("quality", pa.int8(), "0 good, 1 suspect, 2 bad"),
        described_field("kind", pa.string(), "detection, limit, forced or event"),
        described_field("survey_object_id", pa.string(), "identifier in the archive"),
        described_field("survey_field", pa.string(), "field and detector in the archive"),
        described_field("exposure_id", pa.string(), "exposure in the archive"),
        described_field("exposure_s", pa.float64(), "exposure time", "s"),
        described_field("match_arcsec", pa.float64(), "distance from the target", "arcsec"),
    ]
)

STATES = pa.schema(
    [
        described_field("objectid", pa.string(), "target"),
        described_field("archive", pa.string(), "name of the archive"),
        described_field("state", pa.string(), "how the search ends"),
        described_field("n_rows", pa.int64(), "light-curve rows"),
        described_field("n_sources", pa.int64(), "survey objects within the radius"),
    ]
)

_ORDER = ["target", "archive", "band", "survey_object_id", "time_mjd"]
_SEARCHES: dict[str, Callable[..., Found]] = parquet.SEARCHES | services.SEARCHES


def compute_truth(
    targets: Sequence[Target], catalogues: Mapping[str, Catalogue]
) -> tuple[pa.Table, pa.Table]:
    """Compute what each target must get from each catalogue.

    Parameters
    ----------
    targets : sequence of Target
        Targets after merging.
    catalogues : mapping of str to Catalogue
        By archive, as the project names it.

    Returns
    -------
    lightcurves : pyarrow.Table
        In the schema `LIGHTCURVES`; targets in the order of their HEALPix cells of order 29.
    states : pyarrow.Table
        In the schema `STATES`, one row per target and archive in the same order. A target with a
        match but without a single epoch counts as ``searched_empty``.
    """
    cells = healpix_cells([t.ra_deg for t in targets], [t.dec_deg for t in targets], 29)
    order = sorted(range(len(targets)), key=lambda i: (cells[i], targets[i].objectid))
    targets = [targets[i] for i in order]
    position = coordinates([t.ra_deg for t in targets], [t.dec_deg for t in targets])
    archives = {
        name: _SEARCHES[name](position, catalogue.radius_arcsec, *catalogue.tables)
        for name, catalogue in sorted(catalogues.items())
    }
    rows = pd.concat(
        [found.rows.assign(archive=name) for name, found in archives.items()], ignore_index=True
    )
    rows = rows.sort_values(_ORDER)
    rows["objectid"] = np.array([t.objectid for t in targets])[rows["target"]]
    states = [
        _state(number, target, name, found, catalogues[name])
        for number, target in enumerate(targets)
        for name, found in archives.items()
    ]
    return (
        pa.Table.from_pandas(rows, LIGHTCURVES, preserve_index=False).replace_schema_metadata(),
        pa.Table.from_pylist(states, STATES),
    )


def _state(
    number: int, target: Target, archive: str, found: Found, catalogue: Catalogue
) -> dict[str, Any]:
    n_rows = int((found.rows["target"] == number).sum())
    if number in found.ambiguous:
        state = "ambiguous"
    elif n_rows:
        state = "data"
    elif catalogue.looks_at(target):
        state = "searched_empty"
    else:
        state = "outside_footprint"
    return {
        "objectid": target.objectid,
        "archive": archive,
        "state": state,
        "n_rows": n_rows,
        "n_sources": int(found.n_sources.get(number, 0)),
    }
