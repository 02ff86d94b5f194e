"""Pan-STARRS: objects, and their detections in a catalogue of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.time import Time
from cdshealpix.nested import vertices
from small_archives import ambiguous, cells, search, shipped_entry, spec_of, write_hats

from lightloom.config import ArchiveSpec

RA_DEG, DEC_DEG = 150.0, 2.0


def panstarrs(
    root: Path, objects: list[tuple[int, float, float]], detections: list[dict[str, Any]]
) -> ArchiveSpec:
    """Write objects (id, position) and detections, by default at the first of them."""
    ids, ra_deg, dec_deg = zip(*objects, strict=True)
    write_hats(
        root / "otmo",
        pa.table({"objID": ids, "raMean": ra_deg, "decMean": dec_deg}),
        ra="raMean",
        dec="decMean",
    )
    defaults: dict[str, Any] = {
        "objID": ids[0],
        "ra": ra_deg[0],
        "dec": dec_deg[0],
        "obsTime": 56000.0,
        "filterID": 1,
        "psfFlux": 2e-5,
        "psfFluxErr": 1e-6,
        "psfQfPerfect": 0.999,
        "infoFlag": 2**25,
        "infoFlag2": 0,
        "infoFlag3": 0,
    }
    rows = [defaults | {"detectID": n} | row for n, row in enumerate(detections)]
    write_hats(root / "detection", pa.Table.from_pylist(rows))
    entry = shipped_entry("panstarrs", root / "otmo")
    entry["detections"] = entry["detections"] | {"endpoint": str(root / "detection")}
    return spec_of(entry)


def test_fluxes_filters_and_times(tmp_path: Path) -> None:
    detections = [{"filterID": n + 1, "obsTime": 56000.0 + n} for n in range(5)]
    spec = panstarrs(tmp_path, [(1, RA_DEG, DEC_DEG)], detections)
    rows = search(spec, [RA_DEG], [DEC_DEG])[0].to_pandas().sort_values("time_mjd")
    assert rows["band"].tolist() == ["g", "r", "i", "z", "y"]
    assert rows["flux_mjy"].tolist() == pytest.approx([2e-5 * 1e3] * 5)
    # m = 8.90 - 2.5 log10(Jy).
    mag = (rows["flux_mjy"].to_numpy() * u.mJy).to_value(u.ABmag)
    assert mag == pytest.approx(8.90 - 2.5 * np.log10(2e-5), abs=1e-3)
    assert set(rows["time_scale"]) == {"tai"}
    assert set(rows["time_ref"]) == {"topocentre"}
    # Light takes at most 8.4 minutes across the radius of the Earth's orbit.
    tdb = Time(rows["time_mjd"].to_numpy(), format="mjd", scale="tai").tdb.mjd
    assert np.abs(rows["time_mjd_tdb"] - tdb).max() < 8.4 / 1440


def test_what_is_missing_is_minus_999(tmp_path: Path) -> None:
    detections = [
        {"obsTime": -999.0},
        {"psfFlux": -999.0, "psfFluxErr": -999.0},
        {"psfQfPerfect": -999.0, "filterID": 2},
        {"psfQfPerfect": 0.9, "filterID": 3},
        {"psfQfPerfect": 0.91, "filterID": 4, "psfFlux": -3e-7},
    ]
    spec = panstarrs(tmp_path, [(1, RA_DEG, DEC_DEG)], detections)
    rows, _ = search(spec, [RA_DEG], [DEC_DEG])
    g = [row for row in rows.to_pylist() if row["band"] == "g"]
    no_time = next(row for row in g if row["time_mjd"] is None)
    assert no_time["time_mjd_tdb"] is None
    assert no_time["flux_mjy"] == pytest.approx(0.02)
    no_flux = next(row for row in g if row["native_value"] is None)
    assert (no_flux["flux_mjy"], no_flux["flux_err_mjy"], no_flux["quality"]) == (None, None, 2)
    assert no_flux["time_mjd"] == 56000.0
    quality = {row["band"]: row["quality"] for row in rows.to_pylist() if row["band"] != "g"}
    assert quality == {"r": 2, "i": 2, "z": 0}
    negative = next(row for row in rows.to_pylist() if row["band"] == "z")
    assert negative["flux_mjy"] == pytest.approx(-3e-4)
    assert '"psfQfPerfect":0.91,"infoFlag2":0,"infoFlag3":0' in negative["native_columns"]
    assert negative["flags_native"] == 2**25


def test_detections_beyond_the_border_of_their_object(tmp_path: Path) -> None:
    lon, lat = vertices(np.array([300]), 3)
    ra_deg, dec_deg = float(lon[0, 0].deg), float(lat[0, 0].deg)
    steps = np.linspace(-2e-4, 2e-4, 5)
    detections = [
        {"ra": ra_deg + x, "dec": dec_deg + y, "obsTime": 56000.0 + number}
        for number, (x, y) in enumerate((x, y) for x in steps for y in steps)
    ]
    partitions = cells([d["ra"] for d in detections], [d["dec"] for d in detections], 3)
    assert len(np.unique(partitions)) == 4
    spec = panstarrs(tmp_path, [(1, ra_deg, dec_deg)], detections)
    rows, sources = search(spec, [ra_deg], [dec_deg])
    assert sorted(rows["time_mjd"].to_pylist()) == [d["obsTime"] for d in detections]
    assert len(sources) == 1


def test_objects_without_detections_and_other_objects(tmp_path: Path) -> None:
    objects = [(1, RA_DEG, DEC_DEG), (2, RA_DEG, DEC_DEG + 0.5 / 3600), (3, RA_DEG, DEC_DEG + 1.0)]
    detections = [
        {"objID": 1, "obsTime": 56000.0},
        {"objID": 2, "obsTime": 56000.0},
        {"objID": 9, "obsTime": 56001.0},
    ]
    spec = panstarrs(tmp_path, objects, detections)
    rows, sources = search(spec, [RA_DEG, RA_DEG], [DEC_DEG, DEC_DEG + 1.0])
    assert rows["survey_object_id"].to_pylist() == ["1", "2"]
    assert sources.groupby("target").size().to_dict() == {0: 2, 1: 1}
    # Both were detected in the same exposure: they are two objects.
    assert ambiguous(spec, rows) == {0}
