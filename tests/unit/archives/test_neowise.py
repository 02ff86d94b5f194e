"""NEOWISE: single exposures in two bands, limits, and years in catalogues of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from small_archives import REAL, ambiguous, search, shipped_entry, spec_of, write_hive

from lightloom.config import ArchiveSpec

TABLE = REAL / "wise" / "timewise_raw_photometry_neowiser_p1bs_psd__chunk0.csv"
RA_DEG, DEC_DEG = 150.0, 2.0

GOOD: dict[str, Any] = {
    "ra": RA_DEG,
    "dec": DEC_DEG,
    "mjd": 57000.0,
    "w1mpro": 13.183,
    "w1sigmpro": 0.05,
    "w2mpro": 12.0,
    "w2sigmpro": 0.1,
    "cc_flags": "0000",
    "ph_qual": "AA",
    "qual_frame": 10,
    "qi_fact": 1.0,
    "saa_sep": 50.0,
    "moon_masked": "00",
    "nb": 1,
    "na": 0,
    "allwise_cntr": 10**15,
}


def neowise(root: Path, years: dict[str, list[dict[str, Any]]], **changes: Any) -> ArchiveSpec:
    """Write a catalogue for each year."""
    for year, rows in years.items():
        filled = [
            GOOD | {"cntr": n, "source_id": f"{year}-{n}"} | row for n, row in enumerate(rows)
        ]
        write_hive(root / year / f"neowiser-{year}.parquet", pa.Table.from_pylist(filled))
    endpoint = f"{root}/{{subset}}/neowiser-{{subset}}.parquet"
    return spec_of(shipped_entry("neowise", endpoint, subsets=list(years), **changes))


def test_both_bands_limits_and_nulls(tmp_path: Path) -> None:
    rows = [
        {},
        {"mjd": 57001.0, "w2sigmpro": None},
        {"mjd": 57002.0, "w1mpro": None, "w1sigmpro": None},
    ]
    spec = neowise(tmp_path, {"year1": rows})
    found = search(spec, [RA_DEG], [DEC_DEG])[0].to_pylist()
    w1, w2 = ([row for row in found if row["band"] == band] for band in ("W1", "W2"))
    assert [row["time_mjd"] for row in w1] == [57000.0, 57001.0, 57002.0]
    assert w1[0]["flux_mjy"] == pytest.approx(1.611388, rel=1e-6)
    assert w1[0]["flux_err_mjy"] == pytest.approx(0.92103 * 1.611388 * 0.05, rel=1e-4)
    w2_mjy = ((12.0 + 3.339) * u.ABmag).to_value(u.mJy)
    assert [row["flux_mjy"] for row in w2] == pytest.approx([w2_mjy] * 3)
    assert [row["kind"] for row in w2] == ["detection", "limit", "detection"]
    assert w2[1]["flux_err_mjy"] is None
    assert [row["kind"] for row in w1] == ["detection"] * 3
    assert (w1[2]["flux_mjy"], w1[2]["quality"]) == (None, 2)
    assert {row["mag_system"] for row in found} == {"Vega"}


@pytest.mark.parametrize(
    ("change", "quality"),
    [
        ({}, 0),
        ({"nb": 2}, 2),
        ({"na": 1}, 2),
        ({"cc_flags": "0d00"}, 2),
        ({"cc_flags": "00dd"}, 0),
        ({"qi_fact": 0.5}, 2),
        ({"saa_sep": 4.9}, 2),
        ({"moon_masked": "10"}, 2),
    ],
)
def test_recommended_cuts(tmp_path: Path, change: dict[str, Any], quality: int) -> None:
    spec = neowise(tmp_path, {"year1": [change]})
    rows, _ = search(spec, [RA_DEG], [DEC_DEG])
    assert rows["quality"].to_pylist() == [quality, quality]


def test_years_are_one_light_curve(tmp_path: Path) -> None:
    years = {
        "year1": [{"mjd": 57000.0}, {"mjd": 57000.0, "dec": DEC_DEG + 2.0 / 3600}],
        "year2": [{"mjd": 57400.0}],
        "addendum": [{"mjd": 60600.0, "dec": DEC_DEG + 1.0}],
    }
    spec = neowise(tmp_path, years)
    rows, sources = search(spec, [RA_DEG, RA_DEG], [DEC_DEG, DEC_DEG + 1.0])
    table = rows.to_pandas()
    assert table[table["target"] == 0]["time_mjd"].unique().tolist() == [57000.0, 57400.0]
    assert table[table["target"] == 1]["time_mjd"].unique().tolist() == [60600.0]
    assert len(sources) == 4
    # Two detections in one exposure are two objects.
    assert ambiguous(spec, rows) == {0}


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/real/wise, a real reply of IRSA")
def test_a_real_reply(tmp_path: Path) -> None:
    published = pd.read_csv(TABLE, index_col=0)
    names = {
        "W1_mag": "w1mpro",
        "W1_mag_error": "w1sigmpro",
        "W2_mag": "w2mpro",
        "W2_mag_error": "w2sigmpro",
    }
    rows = published.rename(columns=names)
    rows = rows.assign(
        **{name: value for name, value in GOOD.items() if name not in rows},
        cntr=np.arange(len(rows)),
        source_id=[f"row-{number}" for number in range(len(rows))],
    )
    write_hive(tmp_path / "year1", pa.Table.from_pandas(rows, preserve_index=False))
    endpoint = f"{tmp_path}/{{subset}}"
    spec = spec_of(shipped_entry("neowise", endpoint, subsets=["year1"], radius_arcsec=1.0))
    target = SkyCoord(314.2623926, 14.2044063, unit=u.deg)
    found = search(spec, [target.ra.deg], [target.dec.deg])[0].to_pandas()
    near = rows[target.separation(SkyCoord(rows["ra"], rows["dec"], unit=u.deg)) <= 1.0 * u.arcsec]
    assert len(near) > 100
    for band in (1, 2):
        mine = found[found["band"] == f"W{band}"].sort_values("time_mjd", ignore_index=True)
        theirs = near.sort_values("mjd", ignore_index=True)
        np.testing.assert_array_equal(mine["time_mjd"], theirs["mjd"])
        np.testing.assert_array_equal(mine["native_value"], theirs[f"w{band}mpro"])
        is_limit = theirs[f"w{band}mpro"].notna() & theirs[f"w{band}sigmpro"].isna()
        assert (mine["kind"] == "limit").tolist() == is_limit.tolist()
        flux_mjy = 10 ** ((16.4 - theirs[f"w{band}mpro"] - {1: 2.699, 2: 3.339}[band]) / 2.5)
        np.testing.assert_allclose(mine["flux_mjy"], flux_mjy, rtol=1e-12)
    bright = found[(found["band"] == "W1") & (found["native_value"] == 13.183)]
    assert bright["flux_mjy"].to_numpy() == pytest.approx(1.611388, rel=1e-6)
