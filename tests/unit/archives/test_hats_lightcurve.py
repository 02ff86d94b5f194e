"""Catalogues that their entry alone describes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from astropy import units as u
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from small_archives import (
    ENTRY,
    REPOSITORY,
    STATE,
    ambiguous,
    search,
    shard_of,
    spec_of,
    write_hats,
    write_hive,
)

from lightloom.archives import get_archive
from lightloom.archives.measurements import light_curve_rows
from lightloom.errors import ArchiveSchemaError
from lightloom.schema import TARGET_ROWS

RA_DEG, DEC_DEG = 150.0, 2.0


def flat(**columns: Any) -> pa.Table:
    """Three measurements of one object, or as many as the columns have."""
    n_rows = len(next(iter(columns.values()))) if columns else 3
    defaults = {
        "ra": [RA_DEG] * n_rows,
        "dec": [DEC_DEG] * n_rows,
        "id": [7] * n_rows,
        "mjd": (58000.0 + np.arange(n_rows)).tolist(),
        "value": [18.0] * n_rows,
        "error": [0.1] * n_rows,
    }
    return pa.table(defaults | columns)


def found(table: pa.Table, **changes: Any) -> dict[str, list[Any]]:
    """Light-curve rows of catalogue rows that were matched to one target."""
    n_rows = table.num_rows
    matched = table.append_column("target", pa.array(np.zeros(n_rows, np.int64)))
    matched = matched.append_column("match_arcsec", pa.array(np.full(n_rows, 0.1)))
    rows = light_curve_rows(matched, shard_of([RA_DEG], [DEC_DEG]), spec_of(ENTRY, **changes))
    assert rows.column_names == TARGET_ROWS.names
    return rows.to_pydict()


def with_columns(**columns: Any) -> dict[str, Any]:
    return ENTRY["columns"] | columns


NANOMAGGY_MJY = (1e-9 * u.mgy).to_value(u.mJy, u.zero_point_flux(1.0 * u.AB))


@pytest.mark.parametrize(
    ("native", "system", "band", "mjy"),
    [
        ("Jy", "AB", {}, 1e3),
        ("mJy", "AB", {}, 1.0),
        ("uJy", "AB", {}, 1e-3),
        ("nJy", "AB", {}, 1e-6),
        ("nMgy", "AB", {}, NANOMAGGY_MJY),
        ("Vega nMgy", "Vega", {"ab_minus_vega_mag": 2.699}, 3.0227e-4),
        ("electron/s", "AB", {"ab_zero_point_mag": 25.8010446445}, 1.73613e-4),
        ("relative", "AB", {"ab_zero_point_mag": 20.0}, (20.0 * u.ABmag).to_value(u.mJy)),
    ],
)
@settings(deadline=None)
@given(value=st.floats(-1e6, 1e6), error=st.floats(0.0, 1e6))
def test_fluxes_are_converted_linearly(
    native: str, system: str, band: dict[str, float], mjy: float, value: float, error: float
) -> None:
    rows = found(
        flat(value=[value], error=[error]),
        units={"native": native, "mag_system": system},
        bands={"r": {"name": "r"} | band},
    )
    assert rows["flux_mjy"][0] == pytest.approx(value * mjy, rel=2e-5)
    assert rows["flux_err_mjy"][0] == pytest.approx(error * mjy, rel=2e-5)
    assert (rows["native_value"][0], rows["native_err"][0]) == (value, error)
    assert (rows["native_unit"][0], rows["mag_system"][0]) == (native, system)


@pytest.mark.parametrize("native", ["electron/s", "relative"])
def test_units_without_a_zero_point_stay_as_they_are(native: str) -> None:
    rows = found(
        flat(value=[43252.5, -3.0], error=[10.0, 10.0]),
        units={"native": native, "mag_system": "none"},
    )
    assert rows["native_value"] == [43252.5, -3.0]
    assert rows["flux_mjy"] == rows["flux_err_mjy"] == rows["mag_system"] == [None, None]
    assert rows["quality"] == [0, 0]


@pytest.mark.parametrize(("system", "offset_mag"), [("AB", 0.0), ("Vega", 0.91)])
def test_magnitudes(system: str, offset_mag: float) -> None:
    band = {"name": "I"} | ({"ab_minus_vega_mag": offset_mag} if offset_mag else {})
    rows = found(flat(), units={"native": "mag", "mag_system": system}, bands={"I": band})
    flux_mjy = ((18.0 + offset_mag) * u.ABmag).to_value(u.mJy)
    assert rows["flux_mjy"] == pytest.approx([flux_mjy] * 3, rel=1e-12)
    assert rows["flux_err_mjy"] == pytest.approx([0.4 * np.log(10) * flux_mjy * 0.1] * 3)
    assert set(rows["band"]) == {"I"}


def test_missing_values_leave_what_is_there() -> None:
    rows = found(
        flat(
            mjd=[58000.0, -999.0, 58002.0, 58003.0],
            value=[18.0, 18.0, -999.0, float("nan")],
            error=[0.1, 0.1, -99.0, 0.1],
            exptime=[30, 30, -99, 30],
        ),
        missing=[-999, -99],
        columns=with_columns(exposure_s="exptime"),
    )
    assert rows["time_mjd"] == [58000.0, None, 58002.0, 58003.0]
    assert [time is None for time in rows["time_mjd_tdb"]] == [False, True, False, False]
    assert rows["native_value"] == [18.0, 18.0, None, None]
    assert [flux is None for flux in rows["flux_mjy"]] == [False, False, True, True]
    assert rows["flux_err_mjy"][2:] == [None, None]
    assert rows["exposure_s"] == [30.0, 30.0, None, 30.0]
    assert rows["quality"] == [0, 0, 2, 2]


def test_errors_from_the_ratio_of_brightness_and_error() -> None:
    columns = with_columns(value_over_error="snr")
    del columns["error"]
    rows = found(
        flat(value=[20.0, -3.0, 0.0, 5.0], snr=[10.0, -1.5, 0.0, None]),
        columns=columns,
        units={"native": "uJy", "mag_system": "AB"},
    )
    assert rows["native_err"] == [2.0, 2.0, None, None]
    assert rows["flux_err_mjy"][:2] == pytest.approx([2e-3, 2e-3])


@pytest.mark.parametrize(
    ("time", "scale", "origin"),
    [
        ({"scale": "tdb", "ref": "barycentre", "offset_days": 56999.5}, "tdb", 2457000.0),
        ({"scale": "tcb", "ref": "barycentre", "offset_days": 55197.0}, "tcb", 2455197.5),
        ({"scale": "tdb", "ref": "barycentre", "offset_days": -2400000.5}, "tdb", 0.0),
    ],
)
def test_times_count_from_an_offset(time: dict[str, Any], scale: str, origin: float) -> None:
    published = 1683.352 if origin else 2458683.852
    rows = found(flat(mjd=[published]), time=time)
    expected = Time(origin, published, format="jd", scale=scale)
    assert rows["time_mjd"][0] == pytest.approx(expected.mjd, abs=1e-9)
    assert rows["time_mjd_tdb"][0] == pytest.approx(expected.tdb.mjd, abs=1e-9)
    assert (rows["time_scale"][0], rows["time_ref"][0]) == (scale, "barycentre")


def test_flags_fields_and_exposures_are_optional() -> None:
    bare = found(flat())
    for name in ("flags_native", "survey_field", "exposure_id", "exposure_s", "native_columns"):
        assert bare[name] == [None] * 3
    full = found(
        flat(flags=[0, 4, 1], field=[12, 12, 13], ccd=[1, 1, 2], expid=["a", "b", "c"]),
        columns=with_columns(flags="flags", field=["field", "ccd"], exposure_id="expid"),
        quality={"bad": [["flags", "&", 4]], "suspect": [["flags", "!=", 0]]},
        kind="forced",
    )
    assert full["flags_native"] == [0, 4, 1]
    assert full["quality"] == [0, 2, 1]
    assert full["survey_field"] == ["12/1", "12/1", "13/2"]
    assert full["exposure_id"] == ["a", "b", "c"]
    assert full["kind"] == ["forced"] * 3


def test_a_column_names_the_band() -> None:
    bands = {"1": {"name": "g"}, "2": {"name": "r"}}
    columns = with_columns(band="filter")
    rows = found(flat(filter=[2, 1, 2]), columns=columns, bands=bands)
    assert rows["band"] == ["r", "g", "r"]
    with pytest.raises(ArchiveSchemaError, match=r"'filter': found bands \['3'\], expected \['1'"):
        found(flat(filter=[2, 1, 3]), columns=columns, bands=bands)


WIDE = {
    "columns": {"ra": "ra", "dec": "dec", "object_id": "id", "time": "mjd"},
    "bands": {
        "g": {"name": "g", "columns": {"value": "gflux", "error": "gerr", "flags": "gflag"}},
        "y": {
            "name": "y",
            "columns": {"time": "ymjd", "value": "yflux", "value_over_error": "ysnr"},
            "quality": {"bad": [["ysnr", "<", 3]]},
        },
    },
    "units": {"native": "uJy", "mag_system": "AB"},
}


def test_a_row_holds_several_bands() -> None:
    nan = float("nan")
    table = pa.table(
        {
            "ra": [RA_DEG] * 3,
            "dec": [DEC_DEG] * 3,
            "id": [7] * 3,
            "mjd": [58000.0, 58001.0, 58002.0],
            "gflux": [10.0, None, 30.0],
            "gerr": [1.0, 1.0, 1.0],
            "gflag": [True, False, False],
            "ymjd": [58000.1, nan, None],
            "yflux": [8.0, nan, 6.0],
            "ysnr": [2.0, nan, 6.0],
        }
    )
    rows = found(table, **WIDE)
    by_band = {
        band: [i for i, name in enumerate(rows["band"]) if name == band] for band in ("g", "y")
    }
    g, y = by_band["g"], by_band["y"]
    # In g the second row has a time and no flux, in y neither of the two.
    assert [rows["time_mjd"][i] for i in g] == [58000.0, 58001.0, 58002.0]
    assert [rows["native_value"][i] for i in g] == [10.0, None, 30.0]
    assert [rows["flags_native"][i] for i in g] == [1, 0, 0]
    assert [rows["quality"][i] for i in g] == [0, 2, 0]
    assert [rows["time_mjd"][i] for i in y] == [58000.1, None]
    assert [rows["native_err"][i] for i in y] == [4.0, 1.0]
    assert [rows["flags_native"][i] for i in y] == [None, None]
    assert [rows["quality"][i] for i in y] == [2, 0]


def test_columns_of_a_wrong_type_are_named() -> None:
    with pytest.raises(ArchiveSchemaError, match="'value' has type string, expected numbers"):
        found(flat(value=["18", "18", "18"]))


def nested(*, as_struct: bool) -> pa.Table:
    """Two objects, one of them with an empty light curve."""
    lists = {
        "mjd": pa.array([[58000.0, 58001.0], []]),
        "mag": pa.array([[18.0, 18.5], []], pa.list_(pa.float32())),
        "magerr": pa.array([[0.1, 0.2], []], pa.list_(pa.float32())),
    }
    columns: dict[str, Any] = {"id": [1, 2], "ra": [RA_DEG, RA_DEG], "dec": [DEC_DEG, DEC_DEG + 1]}
    if as_struct:
        return pa.table(
            columns | {"lc": pa.StructArray.from_arrays(list(lists.values()), names=list(lists))}
        )
    return pa.table(columns | lists)


@pytest.mark.parametrize("as_struct", [True, False])
def test_lists_of_an_object(tmp_path: Path, as_struct: bool) -> None:
    root = write_hats(tmp_path / "survey", nested(as_struct=as_struct))
    prefix = "lc." if as_struct else ""
    columns = with_columns(time=prefix + "mjd", value=prefix + "mag", error=prefix + "magerr")
    spec = spec_of(ENTRY, endpoint=str(root), columns=columns)
    rows, sources = search(spec, [RA_DEG, RA_DEG], [DEC_DEG, DEC_DEG + 1])
    assert rows["time_mjd"].to_pylist() == [58000.0, 58001.0]
    assert rows["target"].to_pylist() == [0, 0]
    assert sorted(sources["survey_object_id"]) == ["1", "2"]


def test_a_row_per_detection(tmp_path: Path) -> None:
    columns = with_columns(partition="healpix_k5")
    for layout, root in (
        ("hats", write_hats(tmp_path / "hats", flat())),
        ("hive", write_hive(tmp_path / "hive", flat())),
    ):
        spec = spec_of(ENTRY, endpoint=str(root), layout=layout, columns=columns)
        rows, sources = search(spec, [RA_DEG], [DEC_DEG])
        assert rows["time_mjd"].to_pylist() == [58000.0, 58001.0, 58002.0]
        assert set(sources["survey_object_id"]) == {"7"}


def test_subsets_are_one_archive(tmp_path: Path) -> None:
    write_hive(tmp_path / "north", flat())
    south = flat(mjd=[58100.0, 58101.0], dec=[DEC_DEG, DEC_DEG - 20])
    write_hive(tmp_path / "south", south)
    spec = spec_of(
        ENTRY,
        endpoint=f"{tmp_path}/{{subset}}",
        subsets=["north", "south"],
        layout="hive",
        columns=with_columns(partition="healpix_k5"),
    )
    targets = [RA_DEG, RA_DEG, RA_DEG], [DEC_DEG, DEC_DEG - 20, DEC_DEG + 20]
    rows, _ = search(spec, *targets)
    times = rows["time_mjd"].to_numpy()
    assert sorted(times[rows["target"].to_numpy() == 0]) == [58000, 58001, 58002, 58100]
    assert times[rows["target"].to_numpy() == 1].tolist() == [58101.0]
    plan = get_archive(spec, STATE).plan(shard_of(*targets))
    assert plan.outside_footprint.tolist() == [2]
    # The same place in both subsets is asked for at once.
    assert len(plan.requests) == 2


@pytest.mark.parametrize(
    ("mjds", "unique", "expected"),
    [
        ([58000.0, 58000.0], False, {0}),
        ([58000.0, 58001.0], False, set()),
        ([-999.0, -999.0], False, set()),
        ([58000.0, 58001.0], True, {0}),
    ],
)
def test_when_two_objects_are_distinct(
    tmp_path: Path, mjds: list[float], unique: bool, expected: set[int]
) -> None:
    root = write_hats(tmp_path / "survey", flat(mjd=mjds, id=[1, 2]))
    spec = spec_of(ENTRY, endpoint=str(root), unique_objects=unique, missing=[-999])
    rows, _ = search(spec, [RA_DEG], [DEC_DEG])
    assert rows.num_rows == 2
    assert ambiguous(spec, rows) == expected


def documented_entry(name: str) -> dict[str, Any]:
    """A catalogue entry that docs/add-an-archive.md gives as an example."""
    text = (REPOSITORY / "docs" / "add-an-archive.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(catalogue:.*?)```", text, re.DOTALL)
    (entry,) = (
        entries[name]
        for entries in (yaml.safe_load(block)["catalogue"] for block in blocks)
        if name in entries
    )
    return entry


def test_the_documented_entry_of_tess_finds_light_curves(tmp_path: Path) -> None:
    entry = documented_entry("tess_hats")
    lists = {
        "time": pa.array([[1325.29, 1325.31]]),
        "sap_flux": pa.array([[9261.92, float("nan")]]),
        "sap_flux_err": pa.array([[5.0, float("nan")]]),
    }
    table = pa.table(
        {
            "ticid": [25155310],
            "ra_obj": [63.3739],
            "dec_obj": [-69.2268],
            "lightcurve": pa.StructArray.from_arrays(list(lists.values()), names=list(lists)),
        }
    )
    root = write_hats(tmp_path / "tess", table, ra="ra_obj", dec="dec_obj")
    rows, _ = search(spec_of(entry, endpoint=str(root)), [63.3739], [-69.2268])
    assert rows["time_mjd"].to_pylist() == pytest.approx([58324.79, 58324.81])
    assert rows["native_value"].to_pylist() == pytest.approx([9261.92, None])
    assert rows["flux_mjy"].to_pylist() == [None, None]
    assert rows["mag_system"].to_pylist() == [None, None]
    assert rows["quality"].to_pylist() == [0, 2]
