"""Small tables behind a real TAP server, which the laboratory is in the tests of TAP archives."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from small_archives import CATALOGUE, shard_of, spec_of

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.archives.base import Answer, Archive
from lightloom.config import ArchiveSpec

#: The project's entries of TAP services.
ENTRIES = {
    name: entry
    for name, entry in CATALOGUE.items()
    if entry["module"] in ("heasarc", "tap_lightcurve")
}

#: Tests do not wait.
LIMITS = {
    "retries": 0,
    "threads": 1,
    "mem_mb": 1000,
    "requests_per_s": 1000,
    "attempts": 1,
    "longest_wait_s": 0.1,
    "breaker_failures": 1000,
    "timeout_s": 20,
    "reply_mb": 100,
    "poll_s": 0.02,
}

#: Objects of the small NSC: six on a line, 36 arcsec apart; the last one has no measurements.
N_OBJECTS, STEP_DEG = 6, 0.01
ORIGIN_DEG = (50.0, -30.0)
BANDS = ("g", "r", "VR")


def positions(n_targets: int = N_OBJECTS) -> tuple[list[float], list[float]]:
    """Targets at the first objects of the small NSC."""
    ra_deg, dec_deg = ORIGIN_DEG
    return [ra_deg] * n_targets, [dec_deg + STEP_DEG * number for number in range(n_targets)]


def write_tables(sky: Path) -> Path:
    """Write the tables of small services."""
    write_nsc(sky / "services" / "nsc")
    write_rubin(sky / "services" / "rubin")
    write_heasarc(sky / "services" / "heasarc")
    return sky


def _write(path: Path, columns: dict[str, Any], units: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
    fields = [
        pa.field(
            field.name,
            pa.string() if pa.types.is_large_string(field.type) else field.type,
            metadata={"unit": (units or {}).get(field.name, ""), "description": field.name},
        )
        for field in table.schema
    ]
    pq.write_table(table.cast(pa.schema(fields)), path)


def measurements() -> pd.DataFrame:
    """The measurements of the small NSC: each object in three bands, twice."""
    number, band, night = (index.ravel() for index in np.indices((N_OBJECTS - 1, len(BANDS), 2)))
    exposure = [f"c4d_{night}_{BANDS[band]}" for night, band in zip(night, band, strict=True)]
    measured = pd.DataFrame(
        {
            "measid": [f"m{row}" for row in range(len(number))],
            "objectid": [f"o'{one}" for one in number],
            "exposure": exposure,
            "ccdnum": np.full(len(number), 31),
            "filter": [BANDS[one] for one in band],
            "mjd": 57000.25 + night + band / 100,
            "mag_auto": 18.0 + number + band / 10 + night / 100,
            "magerr_auto": 0.02 + number / 1000,
            "fwhm": np.full(len(number), 1.5),
            "flags": night * 4,
            "class_star": np.full(len(number), 0.9),
        }
    )
    measured.loc[0, ["mag_auto", "magerr_auto"]] = 99.99
    return measured


def write_nsc(folder: Path) -> None:
    ra_deg, dec_deg = positions()
    _write(
        folder / "nsc_dr2.object.parquet",
        {"id": [f"o'{number}" for number in range(N_OBJECTS)], "ra": ra_deg, "dec": dec_deg},
        {"ra": "deg", "dec": "deg"},
    )
    measured = measurements()
    _write(
        folder / "nsc_dr2.meas.parquet",
        dict(measured.astype({"mag_auto": np.float32})),
        {"mag_auto": "mag", "magerr_auto": "mag", "mjd": "d"},
    )
    exposures = measured.drop_duplicates("exposure").sort_values("exposure")
    _write(
        folder / "nsc_dr2.exposure.parquet",
        {"exposure": exposures["exposure"], "exptime": 90.0 + exposures["flags"]},
        {"exptime": "s"},
    )


def events(n_events: int = 400) -> pd.DataFrame:
    """Events all over the sky, some with a circle around the first target."""
    rng = np.random.default_rng(7)
    ra_deg, dec_deg = ORIGIN_DEG
    return pd.DataFrame(
        {
            "time": 55000.0 + np.arange(n_events) / 8,
            "ra": np.append(rng.uniform(0, 360, n_events - 3), [ra_deg] * 3),
            "dec": np.append(
                np.degrees(np.arcsin(rng.uniform(-1, 1, n_events - 3))),
                [dec_deg - 2.0, dec_deg + 2.0, dec_deg],
            ),
            # The second of the last three ends 0.36 arcsec before the target.
            "error_radius": np.append(rng.uniform(0.2, 40.0, n_events - 3), [2.0001, 1.9999, 0.01]),
            "event_energy": 10.0 ** rng.uniform(2, 6, n_events),
        }
    )


def write_heasarc(folder: Path) -> None:
    units = {"time": "d", "ra": "deg", "dec": "deg", "error_radius": "deg", "event_energy": "GeV"}
    table = events()
    _write(folder / "icecubepsc.parquet", dict(table), units)
    triggers = table.drop(columns="event_energy").assign(
        trigger_name=[f"bn{number}" for number in range(len(table))],
        trigger_type=np.where(np.arange(len(table)) % 2, "GRB", "SFLARE"),
        reliability=0.9,
    )
    _write(folder / "fermigtrig.parquet", dict(triggers), units)
    ra_deg, dec_deg = ORIGIN_DEG
    _write(
        folder / "xmmssc.parquet",
        {
            "detid": [11, 12, 13],
            "srcid": [1, 1, 2],
            "name": ["4XMM a", "4XMM a", "4XMM b"],
            "ra": [ra_deg] * 3,
            "dec": [dec_deg + 1 / 3600, dec_deg + 1.1 / 3600, dec_deg + 4.9 / 3600],
            "error_radius": [0.5, 0.6, 0.7],
            "time": [55000.5, 55100.5, 55100.5],
            "ep_8_flux": [1e-13, 2e-13, np.nan],
            "ep_8_flux_error": [1e-14, 2e-14, 3e-14],
            "sum_flag": [0, 1, 4],
        },
        {"ep_8_flux": "erg/s/cm**2", "error_radius": "arcsec", "time": "d"},
    )


def forced_sources() -> pd.DataFrame:
    """Forced photometry of three Rubin objects, the second one a duplicate of the first."""
    number, visit = (index.ravel() for index in np.indices((3, 4)))
    return pd.DataFrame(
        {
            "objectId": 2**61 + number,
            "visit": 2024111000001 + visit,
            "detector": number,
            "band": np.array(["r", "g"])[visit % 2],
            # The faintest fluxes scatter around zero.
            "psfFlux": 1000.5 * number - 500.25 + visit,
            "psfFluxErr": 10.0 + visit,
            **{
                flag: visit == at
                for flag, at in (
                    ("psfFlux_flag", 9),
                    ("invalidPsfFlag", 9),
                    ("pixelFlags_bad", 2),
                    ("pixelFlags_saturatedCenter", 9),
                    ("pixelFlags_suspectCenter", 1),
                    ("pixelFlags_nodataCenter", 9),
                )
            },
        }
    )


def write_rubin(folder: Path) -> None:
    ra_deg, dec_deg = ORIGIN_DEG
    _write(
        folder / "dp1.Object.parquet",
        {
            "objectId": 2**61 + np.arange(3),
            "coord_ra": [ra_deg] * 3,
            "coord_dec": [dec_deg, dec_deg + 0.1 / 3600, dec_deg + STEP_DEG],
            "detect_isPrimary": [True, False, True],
        },
        {"coord_ra": "deg", "coord_dec": "deg"},
    )
    _write(
        folder / "dp1.ForcedSource.parquet",
        dict(forced_sources()),
        {"psfFlux": "nJy", "psfFluxErr": "nJy"},
    )
    _write(
        folder / "dp1.Visit.parquet",
        {
            "visit": 2024111000001 + np.arange(4),
            "expMidptMJD": 60623.25 + np.arange(4),
            "expTime": np.full(4, 30.0),
        },
        {"expMidptMJD": "d", "expTime": "s"},
    )


def service_spec(laboratory: Laboratory, name: str, **changes: Any) -> ArchiveSpec:
    """The project's entry of an archive, at the laboratory; options and limits are merged."""
    entry = copy.deepcopy(ENTRIES[name])
    service = name if name in ("nsc", "rubin") else "heasarc"
    entry["endpoint"] = f"{laboratory.url(service)}/tap"
    entry["limits"] = LIMITS | changes.pop("limits", {})
    entry["options"] |= changes.pop("options", {})
    return spec_of(entry | changes)


def ask(
    spec: ArchiveSpec, state: Path, ra_deg: Sequence[float], dec_deg: Sequence[float]
) -> tuple[Archive, list[Answer]]:
    """Ask an archive for targets, as a job does."""
    archive = get_archive(spec, state)
    shard = shard_of(ra_deg, dec_deg)
    return archive, [archive.answer(shard, request) for request in archive.plan(shard).requests]


def rows_of(answers: Sequence[Answer]) -> pd.DataFrame:
    """The rows of answers in a fixed order."""
    rows = pa.concat_tables([answer.rows for answer in answers]).to_pandas()
    keys = ["target", "band", "survey_object_id", "time_mjd"]
    return rows.sort_values(keys, ignore_index=True)
