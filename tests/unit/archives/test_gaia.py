"""Gaia: three bands in a row, and transits as the archive delivers them."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.io.votable import parse_single_table
from astropy.time import Time
from small_archives import CATALOGUE, REAL, ambiguous, search, shipped_entry, spec_of, write_hats

VOTABLE = REAL / "gaia" / "gaia_dr2_epoch_photometry_5813181197970338560.xml"
PREFIXES = {
    "G": ("g_transit", "g_transit_time"),
    "BP": ("bp", "bp_obs_time"),
    "RP": ("rp", "rp_obs_time"),
}
POSITION = 263.5, -58.7


def write_gaia(
    root: Path, sources: list[dict[str, dict[str, list]]], distances_deg: list[float]
) -> Path:
    """Write sources of the transits of each band; lists are padded with what is missing."""
    columns: dict[str, list] = {}
    for source in sources:
        n_transits = max(len(lists["time"]) for lists in source.values())
        for band, lists in source.items():
            prefix, time = PREFIXES[band]
            names = {
                "time": time,
                "flux": f"{prefix}_flux",
                "error": f"{prefix}_flux_error",
                "flux_over_error": f"{prefix}_flux_over_error",
                "rejected": f"variability_flag_{band.lower()}_reject",
            }
            for key, name in names.items():
                missing = False if key == "rejected" else None
                padded = [*lists[key], *[missing] * (n_transits - len(lists[key]))]
                columns.setdefault(name, []).append(padded)
    fields = [
        pa.array(values, pa.list_(pa.bool_() if "flag" in name else pa.float64()))
        for name, values in columns.items()
    ]
    n_sources = len(sources)
    table = pa.table(
        {
            "source_id": [5813181197970338560 + number for number in range(n_sources)],
            "ra": [POSITION[0]] * n_sources,
            "dec": [POSITION[1] + distance for distance in distances_deg],
            "epoch_photometry": pa.StructArray.from_arrays(fields, names=list(columns)),
        }
    )
    return write_hats(root, table)


def transits(n_transits: int, flux: float) -> dict[str, dict[str, list]]:
    lists = {
        "time": (1700.0 + np.arange(n_transits)).tolist(),
        "flux": [flux] * n_transits,
        "error": [1.0] * n_transits,
        "flux_over_error": [flux] * n_transits,
        "rejected": [False] * n_transits,
    }
    return {band: copy.deepcopy(lists) for band in PREFIXES}


def test_zero_points_and_the_origin_of_time_are_those_of_gaia() -> None:
    entry = CATALOGUE["gaia"]
    assert entry["time"] == {"scale": "tcb", "ref": "barycentre", "offset_days": 55197.0}
    # JD 2455197.5 is 2010-01-01T00:00.
    assert Time(55197.0, format="mjd").isot == "2010-01-01T00:00:00.000"
    # AB minus Vega of the published pairs of zero points; the Vega ones are the second numbers.
    for band, vega in (("G", 25.6873668671), ("BP", 25.3385422158), ("RP", 24.7478955012)):
        assert 0.0 < entry["bands"][band]["ab_zero_point_mag"] - vega < 0.4


def test_bands_holes_and_rejected_transits(tmp_path: Path) -> None:
    source = transits(4, 1000.0)
    source["G"]["rejected"] = [False, True, False, False]
    source["G"]["flux"][2] = float("nan")
    source["BP"]["time"][0] = source["BP"]["flux"][0] = None
    source["BP"]["flux"][1], source["BP"]["flux_over_error"][1] = -50.0, -2.5
    source["RP"]["time"][3] = source["RP"]["flux"][3] = float("nan")
    root = write_gaia(tmp_path / "gaia", [source, transits(0, 1.0)], [0.0, 1.0])
    spec = spec_of(shipped_entry("gaia", root))
    rows, sources = search(spec, [POSITION[0]] * 2, [POSITION[1], POSITION[1] + 1.0])
    table = rows.to_pandas()
    assert table.groupby("band").size().to_dict() == {"BP": 3, "G": 4, "RP": 3}
    g, bp = table[table["band"] == "G"], table[table["band"] == "BP"]
    assert g["quality"].tolist() == [0, 2, 2, 0]
    assert g["flags_native"].tolist() == [0, 1, 0, 0]
    assert g["flux_mjy"].iloc[0] == pytest.approx(0.173613, rel=1e-5)
    assert bp["native_value"].iloc[0] == -50.0
    assert bp["native_err"].iloc[0] == 20.0
    assert bp["flux_mjy"].iloc[0] == pytest.approx(-50 * 2.62070e-4, rel=1e-5)
    # The second source has an empty light curve: it is found, and gives no row.
    assert set(table["target"]) == {0}
    assert sources.groupby("target").size().to_dict() == {0: 1, 1: 1}


@pytest.mark.parametrize(("distance_deg", "expected"), [(0.5 / 3600, {0}), (1.5 / 3600, set())])
def test_two_sources_make_a_target_ambiguous(
    tmp_path: Path, distance_deg: float, expected: set[int]
) -> None:
    sources = [transits(2, 100.0), transits(3, 200.0)]
    spec = spec_of(
        shipped_entry("gaia", write_gaia(tmp_path / "gaia", sources, [0.0, distance_deg]))
    )
    rows, _ = search(spec, [POSITION[0]], [POSITION[1]])
    assert ambiguous(spec, rows) == expected


@pytest.mark.skipif(not VOTABLE.exists(), reason="needs ../shared/real/gaia, a real light curve")
def test_a_real_light_curve(tmp_path: Path) -> None:
    published = parse_single_table(VOTABLE).to_table().to_pandas()
    source = {
        band: {
            "time": lists["time"].tolist(),
            "flux": lists["flux"].tolist(),
            "error": lists["flux_error"].tolist(),
            "flux_over_error": lists["flux_over_error"].tolist(),
            "rejected": lists["rejected_by_variability"].tolist(),
        }
        for band, lists in published.groupby("band")
    }
    spec = spec_of(shipped_entry("gaia", write_gaia(tmp_path / "gaia", [source], [0.0])))
    rows = search(spec, [POSITION[0]], [POSITION[1]])[0].to_pandas()
    assert rows.groupby("band").size().to_dict() == {"BP": 83, "G": 85, "RP": 83}
    published = published.sort_values(["band", "time"], ignore_index=True)
    rows = rows.sort_values(["band", "time_mjd"], ignore_index=True)
    time = Time(2455197.5, published["time"].to_numpy(), format="jd", scale="tcb")
    np.testing.assert_allclose(rows["time_mjd"], time.mjd, rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows["time_mjd_tdb"], time.tdb.mjd, rtol=0, atol=1e-9)
    # DR2 publishes Vega magnitudes; its zero points differ from those of DR3 by millimagnitudes.
    ab_minus_vega = {"G": 0.1136776, "BP": 0.0154133, "RP": 0.3560882}
    with np.errstate(invalid="ignore"):
        ab_mag = 16.4 - 2.5 * np.log10(rows["flux_mjy"])
    vega_mag = ab_mag - rows["band"].map(ab_minus_vega)
    offset = (vega_mag - published["mag"]).groupby(rows["band"]).median()
    assert offset.abs().max() < 0.05
    assert vega_mag[rows["band"] == "G"].median() == pytest.approx(15.07685, abs=0.005)
    ratio = rows["flux_mjy"] / rows["flux_err_mjy"]
    pd.testing.assert_series_equal(
        ratio, published["flux_over_error"], rtol=1e-4, check_dtype=False, check_names=False
    )
