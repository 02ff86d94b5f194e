"""Finished results with rows of every kind, written as the workflow writes them."""

from pathlib import Path
from typing import Any

from recorded_run import record_run
from small_run import SmallRun, lightcurve_row

#: Awkward ids: spaces, quotes, markup, commas.
TARGETS = {
    "NGC 1068": (40.6696, -0.0133),
    'a "b", <c> & d': (40.7, -0.02),
    "far": (200.0, 60.0),
    "nothing": (10.0, 10.0),
}
SHARDS = {
    "norder1-npix11": ("far",),
    "norder1-npix17": ("NGC 1068", 'a "b", <c> & d'),
    "norder1-npix19": ("nothing",),
}
LABELS = {"NGC 1068": ["Seyfert", "bright"], "far": ["CLAGN"]}
#: Conditions of a view that one archive alone has.
BRIGHT = [["flux_mjy", ">", 5.0], ["flags_native", "&", 3]]
NO_FLUX: dict[str, Any] = {"flux_mjy": None, "flux_err_mjy": None}


def ztf_rows(objectid: str, n_rows: int) -> list[dict[str, Any]]:
    return [
        lightcurve_row(
            objectid,
            "ztf",
            band="gr"[i % 2],
            time_mjd=58000.1 + i / 7,
            time_mjd_tdb=58000.1 + i / 7 + 0.0012345678901,
            flux_mjy=(0.1 + i / 3) * (-1) ** (i % 5 == 0),
            flags_native=2**62 + i if i % 3 else None,
            quality=i % 3,
            survey_field="a<b" if i % 2 else None,
            native_columns='{"clrcoeff":-0.05,"text":"x,y"}',
            match_arcsec=0.1 * (i % 4),
        )
        for i in range(n_rows)
    ]


def tess_rows(objectid: str) -> list[dict[str, Any]]:
    return [
        lightcurve_row(
            objectid,
            "tess",
            band=band,
            time_mjd=59000.0 + i,
            time_mjd_tdb=None if i == 3 else 59000.0 + i,
            time_scale="tdb",
            time_ref="barycentre",
            native_value=900.0 + i,
            native_unit="electron/s",
            mag_system=None,
            **NO_FLUX,
        )
        for band in ("TESS", "TESS_SAP")
        for i in range(5)
    ]


def event_rows(objectid: str) -> list[dict[str, Any]]:
    return [
        lightcurve_row(
            objectid,
            "icecube",
            band="IceCube",
            kind="event",
            native_value=1e5,
            native_err=None,
            native_unit="GeV",
            mag_system=None,
            **NO_FLUX,
        )
    ]


def limit_rows(objectid: str) -> list[dict[str, Any]]:
    limit = {"kind": "limit", "native_err": None, "flux_err_mjy": None, "band": "W1"}
    return [
        lightcurve_row(objectid, "neowise", time_mjd_tdb=58000.5 + i, **limit) for i in range(3)
    ]


def write_results(run: SmallRun) -> Path:
    """Write results of four targets in three shards, and return their folder."""
    run.catalogue = ("icecube", "neowise", "tess", "ztf")
    for shard, names in SHARDS.items():
        run.add_shard(shard, {name: TARGETS[name] for name in names})
        rows = {
            "ztf": [row for name in names if name != "nothing" for row in ztf_rows(name, 40)],
            "tess": [row for name in names if name == "far" for row in tess_rows(name)],
            "icecube": [row for name in names if name == "NGC 1068" for row in event_rows(name)],
            "neowise": [row for name in names if name == "far" for row in limit_rows(name)],
        }
        run.merge(shard, [run.add_part(name, shard, found) for name, found in rows.items()])
    run.finish(LABELS)
    views = {name: {"bright": BRIGHT} if name == "ztf" else {} for name in run.catalogue}
    record_run(run, run.catalogue, views)
    return run.results
