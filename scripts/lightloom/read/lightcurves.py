"""Light curves in memory, and the forms that other packages take them in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.errors import ResultError

if TYPE_CHECKING:
    import pandas as pd
    from astropy.timeseries import TimeSeries
    from lightkurve import LightCurveCollection
    from nested_pandas import NestedFrame

#: Name of the nested column, as in the HATS catalogue.
NESTED = "lightcurve"


@dataclass(frozen=True)
class LightCurves:
    """Rows of light curves, and the targets that were asked for.

    Attributes
    ----------
    table : pyarrow.Table
        Columns of ``LIGHTCURVE``, with their units and UCDs in the metadata of the fields.
    targets : pyarrow.Table
        ``objectid``, ``ra_deg``, ``dec_deg``, ``labels``, ``number``: also of targets without rows.
    """

    table: pa.Table
    targets: pa.Table

    def __len__(self) -> int:
        return self.table.num_rows

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a data frame; ``attrs["units"]`` has the unit of each column.

        Integers that may be missing are ``Int64``: flag bits would not survive as floats.
        """
        import pandas as pd

        frame: pd.DataFrame = self.table.to_pandas(
            types_mapper={pa.int64(): pd.Int64Dtype()}.get, ignore_metadata=True
        )
        frame.attrs["units"] = {
            field.name: unit.decode()
            for field in self.table.schema
            if (unit := (field.metadata or {}).get(b"unit"))
        }
        return frame

    def to_nested(self) -> "NestedFrame":
        """Return a row for each target, with its light curve in the nested column ``lightcurve``.

        The index is the objectid; targets without rows have an empty light curve.
        """
        from nested_pandas import NestedFrame

        targets = self.targets.drop_columns(["number"]).to_pandas().set_index("objectid")
        rows = self._require("objectid").to_pandas().set_index("objectid")
        return NestedFrame(targets).join_nested(NestedFrame(rows), NESTED)

    def to_timeseries(self) -> "TimeSeries":
        """Return the rows that have a time as an astropy time series, in the order of time.

        ``time`` is in TDB at the barycentre of the solar system. Numbers with a unit are
        quantities, in which what is missing is NaN; in other columns it is masked.
        """
        from astropy.time import Time
        from astropy.timeseries import TimeSeries

        rows = self._require("time_mjd_tdb").table
        rows = rows.filter(rows["time_mjd_tdb"].is_valid())
        rows = rows.take(pc.sort_indices(rows["time_mjd_tdb"]))
        time = Time(rows["time_mjd_tdb"].to_numpy(), format="mjd", scale="tdb")
        others = rows.drop_columns(["time_mjd_tdb"])
        columns = {
            field.name: _astropy_column(others[field.name], field) for field in others.schema
        }
        series = TimeSeries(time=time, data=columns)
        series.meta["TIMESYS"] = "TDB"
        series.meta["TREFPOS"] = "BARYCENTER"
        return series

    def to_lightkurve(self) -> "LightCurveCollection":
        """Return a lightkurve light curve for each target, archive, band and unit.

        Rows without time or value are left out, as lightkurve does with files. The flux is
        the flux density [mJy] where one is defined, else the published value.

        Raises
        ------
        ResultError
            If lightkurve is not installed: it does not go with the pandas of this project (it
            needs one below 3), so it lives in an environment of its own; docs/reading.md tells how.
        """
        try:
            from lightkurve import LightCurveCollection
        except ImportError as error:
            raise ResultError(
                f"lightkurve cannot be imported ({error}); install lightloom and lightkurve in an"
                " environment with pandas < 3, or use to_timeseries()"
            ) from error
        return LightCurveCollection([_lightkurve(rows) for rows in self._single_curves()])

    def _single_curves(self) -> list[pa.Table]:
        measured = with_flux(self.table)
        keys = ["objectid", "archive", "band", "unit"]
        groups = measured.select(keys).group_by(keys, use_threads=False).aggregate([]).to_pylist()
        curves = []
        for group in groups:
            is_same = pc.scalar(True)
            for name, value in group.items():
                is_same = is_same & (pc.field(name) == value)
            curves.append(measured.filter(is_same).sort_by("time_mjd_tdb"))
        return curves

    def to_fornax(self) -> "pd.DataFrame":
        """Return the frame of the Fornax light-curve notebooks; see `lightloom.read.fornax`."""
        from lightloom.read.fornax import fornax_frame

        return fornax_frame(self)

    def _require(self, *names: str) -> "LightCurves":
        missing = [name for name in names if name not in self.table.column_names]
        if missing:
            raise ResultError(f"columns {missing} were not read; add them to `columns`")
        return self


def with_flux(table: pa.Table) -> pa.Table:
    """Return the measurements with a time and a value, with columns ``flux``, ``err`` and ``unit``.

    The flux density in mJy where one is defined, else the published value in its unit.
    """
    has_density = table["flux_mjy"].is_valid()
    unit = pc.if_else(has_density, "mJy", table["native_unit"])
    has_any = pc.or_(has_density, _never_in_mjy(table))
    flux = pc.if_else(has_density, table["flux_mjy"], table["native_value"])
    err = pc.if_else(has_density, table["flux_err_mjy"], table["native_err"])
    extended = (
        table.append_column("flux", flux).append_column("err", err).append_column("unit", unit)
    )
    is_usable = pc.and_(
        pc.and_(has_any, pc.is_valid(flux)),
        pc.and_(table["time_mjd_tdb"].is_valid(), pc.not_equal(table["kind"], "event")),
    )
    return extended.filter(is_usable)


def _never_in_mjy(table: pa.Table) -> pa.ChunkedArray:
    """Tell which rows are of a band of an archive without any flux density."""
    counted = table.group_by(["archive", "band"]).aggregate([("flux_mjy", "count")])
    without = counted.filter(pc.field("flux_mjy_count") == 0)
    names = pc.binary_join_element_wise(without["archive"], without["band"], "\n")
    return pc.is_in(
        pc.binary_join_element_wise(table["archive"], table["band"], "\n"),
        value_set=names.combine_chunks(),
    )


def _astropy_column(column: pa.ChunkedArray, field: pa.Field) -> Any:
    from astropy import units as u
    from astropy.table import MaskedColumn

    metadata = field.metadata or {}
    description = metadata.get(b"description", b"").decode()
    if pa.types.is_floating(field.type):
        values = pc.fill_null(column, np.nan).to_numpy()
        unit = metadata.get(b"unit")
        if unit is not None:
            return u.Quantity(values, unit.decode())
        return MaskedColumn(values, description=description)
    is_null = column.is_null().to_numpy()
    fill = "" if pa.types.is_string(field.type) else 0
    values = pc.fill_null(column, fill).to_numpy()
    values = values.astype(str) if pa.types.is_string(field.type) else values
    return MaskedColumn(values, mask=is_null, description=description)


def _lightkurve(rows: pa.Table) -> Any:
    import lightkurve
    from astropy import units as u
    from astropy.time import Time

    first = rows.slice(0, 1).to_pylist()[0]
    unit = _known_unit(first["unit"])
    time: NDArray[np.float64] = rows["time_mjd_tdb"].to_numpy()
    curve = lightkurve.LightCurve(
        time=Time(time, format="mjd", scale="tdb"),
        flux=u.Quantity(rows["flux"].to_numpy(), unit),
        flux_err=u.Quantity(pc.fill_null(rows["err"], np.nan).to_numpy(), unit),
    )
    curve.meta.update(
        {
            "OBJECT": first["objectid"],
            "LABEL": f"{first['objectid']} {first['archive']} {first['band']}",
            "ARCHIVE": first["archive"],
            "BAND": first["band"],
            "NATIVE_UNIT": first["native_unit"],
        }
    )
    return curve


#: Names of units in the table that astropy knows by another name.
_ASTROPY_UNITS = {"relative": "", "erg/cm2/s": "erg cm-2 s-1"}


def _known_unit(name: str) -> Any:
    from astropy import units as u

    return u.Unit(_ASTROPY_UNITS.get(name, name))
