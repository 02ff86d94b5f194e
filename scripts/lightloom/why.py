"""Where a number comes from: a row or a state, back to the question that an archive was asked.

Everything is read from what the run has left: the merged rows, the part that they come from with
its status, the targets of the shard, and the record of the run.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from lightloom.config import ArchiveSpec
from lightloom.errors import ResultError
from lightloom.merge import read_status
from lightloom.motion import positions_at
from lightloom.plan import part_paths
from lightloom.plots.states import REMEDIES
from lightloom.record import Record, read_record
from lightloom.schema import LIGHTCURVE
from lightloom.services.tap_adql import QueryWriter, events_between, events_near_targets
from lightloom.storage import sha256_file
from lightloom.suggest import did_you_mean

#: Columns of a row that are shown; the row itself has them all.
_SHOWN = (
    "archive",
    "band",
    "time_mjd_tdb",
    "time_mjd",
    "time_scale",
    "time_ref",
    "native_value",
    "native_err",
    "native_unit",
    "flux_mjy",
    "flux_err_mjy",
    "quality",
    "flags_native",
    "kind",
    "survey_object_id",
    "survey_field",
    "exposure_id",
    "match_arcsec",
)

Lines = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Explanation:
    """Why a row, or the state of a target in an archive, is as it is.

    Attributes
    ----------
    title : str
    facts : list of (str, str)
        What is known, and what it is called.
    """

    title: str
    facts: list[tuple[str, str]]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.facts)
        return "\n".join([self.title, *(f"  {name:<{width}}  {text}" for name, text in self.facts)])


def explain(
    results: Path,
    objectid: str,
    time_mjd: float | None = None,
    *,
    archives: Sequence[str] = (),
    n_rows: int = 1,
) -> list[Explanation]:
    """Trace a target, and the rows nearest to a time, to where they come from.

    Parameters
    ----------
    results : pathlib.Path
        The results folder of a run.
    objectid : str
        The target.
    time_mjd : float, optional
        The rows nearest to this time (MJD in TDB at the barycentre, ``time_mjd_tdb``) are
        explained; without it the states of the target in the archives.
    archives : sequence of str
        Only these archives; all that were asked if empty.
    n_rows : int
        Number of rows.

    Returns
    -------
    list of Explanation

    Raises
    ------
    ResultError
        If there is no such target or archive, or it has no row with a time.
    """
    if time_mjd is not None and not math.isfinite(time_mjd):
        raise ResultError(
            f"time: found {time_mjd}, expected an MJD; write a number such as 58199.3"
        )
    record = read_record(results)
    unknown = sorted(set(archives) - set(record.enabled))
    if unknown:
        raise ResultError(
            f"{results}: archive {unknown[0]!r} was not asked"
            f"{did_you_mean(unknown[0], record.enabled)}; expected one of"
            f" {', '.join(record.enabled)}"
        )
    wanted = list(archives) or record.enabled
    target = _find_target(results, objectid)
    if time_mjd is None:
        return [
            Explanation(f"{objectid} in {name}", list(_of_state(results, record, target, name)))
            for name in wanted
        ]
    rows = _nearest_rows(results, target, wanted, time_mjd, n_rows)
    return [
        Explanation(
            f"{objectid} in {row['archive']}, band {row['band']}, MJD {row['time_mjd_tdb']} (TDB)",
            [*_of_row(results, row), *_of_state(results, record, target, row["archive"])],
        )
        for row in rows
    ]


def _find_target(results: Path, objectid: str) -> dict[str, Any]:
    path = results / "sample" / "sample.parquet"
    if not path.exists():
        raise ResultError(f"{path}: not found, expected the sample of a run; start one first")
    table = pq.read_table(path, filters=[("objectid", "==", objectid)])
    if not table.num_rows:
        names = pq.read_table(path, columns=["objectid"])["objectid"].to_pylist()
        raise ResultError(
            f"{path}: target {objectid!r} not found{did_you_mean(objectid, names)}; the column"
            " objectid lists the targets of the run"
        )
    target: dict[str, Any] = table.to_pylist()[0]
    return target


def _nearest_rows(
    results: Path, target: Mapping[str, Any], archives: Sequence[str], time_mjd: float, n_rows: int
) -> list[dict[str, Any]]:
    path = results / "lightcurves" / f"{target['shard']}.parquet"
    if not path.exists():
        raise ResultError(
            f"{path}: not found, expected the merged light curves; without a time,"
            " `lightloom why` explains what is not merged yet"
        )
    chosen = (ds.field("objectid") == target["objectid"]) & ds.field("archive").isin(archives)
    rows = ds.dataset(path).to_table(filter=chosen & ds.field("time_mjd_tdb").is_valid())
    if not rows.num_rows:
        raise ResultError(
            f"{path}: target {target['objectid']!r} has no row with a time in"
            f" {', '.join(archives)}; without a time, `lightloom why` explains its states"
        )
    distance = pc.abs(pc.subtract(rows["time_mjd_tdb"], time_mjd))
    order = pc.sort_indices(pa.table({"distance": distance}), [("distance", "ascending")])
    found: list[dict[str, Any]] = rows.take(order[:n_rows]).to_pylist()
    return found


def _of_row(results: Path, row: Mapping[str, Any]) -> Lines:
    for name in _SHOWN:
        if row[name] is not None:
            unit = (LIGHTCURVE.field(name).metadata or {}).get(b"unit", b"").decode()
            yield name, f"{row[name]} {unit}".rstrip()
    if row["native_columns"]:
        published = json.loads(row["native_columns"])
        yield "native_columns", ", ".join(f"{name} {value}" for name, value in published.items())


def _of_state(results: Path, record: Record, target: Mapping[str, Any], archive: str) -> Lines:
    spec, shard = record.archives[archive], target["shard"]
    part, status_path = part_paths(results, archive, shard)
    log = results / "logs" / "fetch" / archive / f"{shard}.log"
    yield "target", f"RA {target['ra_deg']}, Dec {target['dec_deg']} (ICRS, deg); shard {shard}"
    yield "source ids", ", ".join(target["source_ids"])
    if not status_path.exists():
        yield "state", "not searched yet, or its search failed: there is no part of this shard"
        yield "log", f"{log} says how the last attempt ended"
        return
    status = read_status(status_path)
    states = status["targets"]
    index = pc.index(states["objectid"], target["objectid"]).as_py()
    if index < 0:
        yield "state", "not searched yet: the target came into the shard after its part was fetched"
        return
    state = states.slice(index, 1).to_pylist()[0]
    yield "state", f"{state['state']}: {state['n_rows']} rows of {state['n_sources']} sources"
    if state["match_arcsec"] is not None:
        yield "nearest source", f"{state['match_arcsec']:.4f} arcsec"
    if state["error_class"]:
        yield "reason", f"{state['error_class']}: {state['message']}"
        yield "what to do", REMEDIES[state["error_class"]]
    if state["state"] == "outside_footprint":
        yield "service", f"{spec.title}, {', '.join(spec.endpoints)}"
        yield "asked", "nothing: the archive has not observed the place"
    else:
        yield from _of_question(spec, target)
    yield "release", status["release"]
    yield "retrieved", f"{status['retrieved_utc']}, at the latest: when the part was whole"
    if places := status.get("places"):
        yield "read from", "; ".join(places)
    cost = status["reads"]
    yield "part", f"{part}: {cost['requests']} requests, {cost['bytes']} bytes read for the shard"
    intact = part.exists() and sha256_file(part) == status["part"]["sha256"]
    yield (
        "digest",
        (
            f"sha256 {status['part']['sha256']}, "
            + ("as fetched" if intact else "found other bytes: run `snakemake repair --cores all`")
        ),
    )
    key = status["key"]
    yield (
        "code",
        (f"lightloom {status.get('version', 'unknown')}, {spec.module_name} {key['code_hash']}"),
    )
    now = {name: value for name, value in key.items() if name != "shard_hash"}
    current = "as in run.json" if now == record.keys[archive] else "of earlier settings or code"
    yield "settings", f"{key['settings_hash']}, {current}"
    yield "log", str(log)


def _of_question(spec: ArchiveSpec, target: Mapping[str, Any]) -> Lines:
    """Tell what the archive was asked about a target."""
    names = ("ra_deg", "dec_deg", "pmra_masyr", "pmdec_masyr", "parallax_mas", "ref_epoch_jyear")
    table = pa.table({name: [target[name]] for name in names if name in target})
    ra_deg, dec_deg = (
        float(one[0])
        for one in positions_at(table, spec.epoch_jyear, annual_parallax=spec.annual_parallax)
    )
    yield "service", f"{spec.title}, {', '.join(spec.endpoints)}"
    circle = f"RA {ra_deg:.7f}, Dec {dec_deg:.7f} deg at J{spec.epoch_jyear:g}"
    if spec.kind == "event":
        yield "asked", f"events whose error circle holds {circle}"
    else:
        yield "asked", f"all within {spec.radius_arcsec:g} arcsec of {circle}"
    for number, adql in enumerate(_queries(spec, ra_deg, dec_deg), start=1):
        yield f"query {number}", " ".join(adql.split())


def _queries(spec: ArchiveSpec, ra_deg: float, dec_deg: float) -> Iterator[str]:
    """Yield the ADQL of a TAP service; what it reads as TAP_UPLOAD.targets had the target."""
    if spec.module == "tap_lightcurve":
        writer = QueryWriter(spec.columns, spec.bands, spec.options)
        radius_deg = (spec.radius_arcsec + spec.options["match_margin_arcsec"]) / 3600
        circles = [] if writer.uploads_targets else [(ra_deg, dec_deg)]
        yield writer.match(radius_deg, circles)
        if writer.is_joined:
            yield writer.rows([] if writer.uploads_objects else ["the objects found"])
    elif spec.module == "heasarc" and spec.options["whole_table"]:
        yield events_between(spec.columns, spec.options, -90.0, 90.0)
    elif spec.module == "heasarc":
        yield events_near_targets(spec.columns, spec.options)
