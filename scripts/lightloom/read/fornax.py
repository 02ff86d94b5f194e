"""The frame that the light-curve notebooks of NASA's Fornax Initiative pass around.

The contract, from github.com/nasa-fornax/fornax-demo-notebooks (light_curves/code_src,
``MultiIndexDFObject`` and the functions of the archives), is written down in docs/reading.md.
"""

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightloom.errors import ResultError
from lightloom.read.lightcurves import LightCurves, with_flux

if TYPE_CHECKING:
    import pandas as pd

#: Levels of the index.
INDEX = ("objectid", "label", "band", "time")

#: Names of the bands by archive and band; those of other archives are archive_band.
_BANDS = {
    ("ztf", "g"): "zg",
    ("ztf", "r"): "zr",
    ("ztf", "i"): "zi",
    ("unwise", "W1"): "W1",
    ("unwise", "W2"): "W2",
    ("gaia", "G"): "G",
    ("gaia", "BP"): "BP",
    ("gaia", "RP"): "RP",
    **{("panstarrs", band): f"panstarrs {band}" for band in "grizy"},
    ("tess", "TESS"): "TESS",
    ("kepler", "Kepler"): "Kepler",
    ("k2", "K2"): "K2",
    ("fermigbm", "GBM"): "FERMIGTRIG",
    ("saxgrbm", "GRBM"): "SAXGRBMGRB",
    ("icecube", "IceCube"): "IceCube",
}
#: HCV: instrument and filter, of which the notebooks name the filter.
_HCV_BAND = re.compile(r"^(?:ACS|WFC3|WFPC2)_(F\d+\w+)$")

#: The notebooks' flux and error of a burst, which has neither.
_BURST_FLUX = 0.1

_NEEDED = (
    *("objectid", "archive", "band", "time_mjd_tdb", "flux_mjy", "flux_err_mjy"),
    *("native_value", "native_err", "native_unit", "kind"),
)


def fornax_frame(curves: LightCurves) -> "pd.DataFrame":
    """Return light curves in the frame of the Fornax notebooks.

    Parameters
    ----------
    curves : LightCurves
        Read with at least the columns of time, flux, native value and kind.

    Returns
    -------
    pandas.DataFrame
        Index: ``objectid`` (int64, the target's place in the sample from 1), ``label`` (its first
        label), ``band``, ``time`` (MJD in TDB at the barycentre). Columns: ``flux``, ``err``
        (float64; mJy, or the archive's unit where no flux density is defined), sorted by the index.

    Raises
    ------
    ResultError
        If a column that is needed was not read.
    """
    import pandas as pd

    missing = [name for name in _NEEDED if name not in curves.table.column_names]
    if missing:
        raise ResultError(f"columns {missing} were not read; read them all for this frame")
    is_limit = pc.equal(curves.table["kind"], "limit")
    measured = with_flux(curves.table.filter(pc.invert(is_limit)))
    names = [*INDEX, "flux", "err"]
    rows = pa.concat_tables([_named(measured, curves), _named(_events(curves.table), curves)])
    frame: pd.DataFrame = rows.select(names).to_pandas(ignore_metadata=True)
    return frame.set_index(list(INDEX)).sort_index()


def _events(table: pa.Table) -> pa.Table:
    """Return the events with the flux that the notebooks give them: a mark, no measurement."""
    events = table.filter((pc.field("kind") == "event") & pc.field("time_mjd_tdb").is_valid())
    energy = pc.log10(events["native_value"])
    flux = pc.if_else(events["native_value"].is_valid(), energy, _BURST_FLUX)
    err = pc.if_else(events["native_value"].is_valid(), 0.0, _BURST_FLUX)
    return (
        events.append_column("flux", flux)
        .append_column("err", err)
        .append_column("unit", events["native_unit"])
    )


def _named(rows: pa.Table, curves: LightCurves) -> pa.Table:
    bands = [
        fornax_band(*names)
        for names in zip(
            *(rows[name].to_pylist() for name in ("archive", "band", "unit")), strict=True
        )
    ]
    targets = curves.targets
    where = pc.index_in(rows["objectid"], targets["objectid"].combine_chunks())
    labels = pa.array([names[0] if names else "" for names in targets["labels"].to_pylist()])
    named = pa.table(
        {
            "objectid": targets["number"].take(where).cast(pa.int64()),
            "label": labels.take(where.combine_chunks()),
            "band": pa.array(bands, pa.string()),
            "time": rows["time_mjd_tdb"],
            "flux": rows["flux"].cast(pa.float64()),
            "err": pc.fill_null(rows["err"], np.nan).cast(pa.float64()),
        }
    )
    return named.filter(pa.array([band is not None for band in bands], pa.bool_()))


def fornax_band(archive: str, band: str, unit: str) -> str | None:
    """Return the notebooks' name of a band, or None for one that would be there twice.

    That is the flux in the aperture of TESS, Kepler and K2, beside that freed of trends. Normalised
    light curves have a name of their own, as the notebooks take the others for electron/s.
    """
    if archive in ("tess", "kepler", "k2") and band.endswith("_SAP"):
        return None
    if unit == "relative":
        return f"{band} relative"
    if archive == "hcv" and (match := _HCV_BAND.match(band)):
        return match[1]
    return _BANDS.get((archive, band), f"{archive}_{band}")
