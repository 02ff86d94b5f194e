"""What the jobs have found, brought together: matches per object, light curves, and one ledger."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightloom.errors import ResultError
from lightloom.moving.plan import file_name
from lightloom.moving.schema import LABELLED, MATCH, MOVING_LEDGER, MOVING_STATES, OPEN_STATES
from lightloom.schema import LIGHTCURVE, QUALITY_GOOD, conform
from lightloom.storage import write_json, write_table
from lightloom.times import to_mjd_tdb_barycentre

_MJY_PER_UJY = 1e-3
_ROW_ORDER = ("objectid", "label", "time_mjd", "source", "candid", "offset_days")
#: What a light curve of a moving object keeps of its matches, as JSON.
_FURTHER = (
    "dc_mag",
    "dc_mag_err",
    "drb",
    "is_positive",
    "r_au",
    "delta_au",
    "phase_deg",
    "predicted_ra_deg",
    "predicted_dec_deg",
    "predicted_v_mag",
    "track_uncertainty_arcsec",
)


def read_rows(folder: Path, records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return the rows (``LABELLED``) that the records tell of, ordered by object, time and id.

    Raises
    ------
    ResultError
        If a file has not as many rows as its record says.
    """
    tables = [LABELLED.empty_table()]
    for record in records:
        if not record["file"]:
            continue
        table = pq.read_table(folder / record["file"])
        n_matches = int(pc.sum(table["label"]).as_py() or 0)
        if n_matches != record["n_matches"]:
            raise ResultError(
                f"{folder / record['file']}: found {n_matches} matches, expected"
                f" {record['n_matches']}; delete the file and run again"
            )
        tables.append(conform(table, LABELLED, str(record["file"])))
    return pa.concat_tables(tables)


def light_curves(matches: pa.Table) -> pa.Table:
    """Return matches in the schema of the fixed targets' light curves (``LIGHTCURVE``)."""
    n_rows = matches.num_rows
    time_mjd = matches["time_mjd"].to_numpy()
    tdb = to_mjd_tdb_barycentre(
        time_mjd,
        matches["ra_deg"].to_numpy(),
        matches["dec_deg"].to_numpy(),
        time_scale="utc",
        time_ref="topocentre",
    )
    candid = matches["candid"].cast(pa.string())
    further = [json.dumps(row, sort_keys=True) for row in matches.select(_FURTHER).to_pylist()]

    def constant(value: Any, type_: pa.DataType) -> pa.Array:
        return pa.array([value] * n_rows, type_)

    columns = {
        "objectid": matches["objectid"],
        "archive": matches["source"],
        "band": matches["band"],
        "time_mjd": time_mjd,
        "time_scale": constant("utc", pa.string()),
        "time_ref": constant("topocentre", pa.string()),
        "time_mjd_tdb": tdb,
        "flux_mjy": pc.multiply(matches["flux_ujy"], _MJY_PER_UJY),
        "flux_err_mjy": pc.multiply(matches["flux_err_ujy"], _MJY_PER_UJY),
        "native_value": matches["magpsf"],
        "native_err": matches["sigmapsf"],
        "native_unit": constant("mag", pa.string()),
        "mag_system": constant("AB", pa.string()),
        "flags_native": pa.nulls(n_rows, pa.int64()),
        "quality": constant(QUALITY_GOOD, pa.int8()),
        "kind": constant("detection", pa.string()),
        "survey_object_id": matches["alert_object"],
        "survey_field": matches["survey_field"],
        "exposure_id": candid,
        "match_arcsec": matches["separation_arcsec"],
        "exposure_s": matches["exposure_s"],
        "native_columns": pa.array(further, pa.string()),
    }
    return conform(pa.table(columns), LIGHTCURVE, "light curves of moving objects")


def ledger(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the ledger: one state for each object, window and source.

    Raises
    ------
    ResultError
        If there are two, or one that no search ends in.
    """
    names = {"objectid": "object"}
    rows = [
        {name: record[names.get(name, name)] for name in MOVING_LEDGER.names} for record in records
    ]
    rows.sort(key=lambda row: (row["objectid"], row["window"], row["source"]))
    keys = {(row["objectid"], row["window"], row["source"]) for row in rows}
    wrong = sorted({row["state"] for row in rows} - set(MOVING_STATES))
    if len(keys) != len(rows) or wrong:
        raise ResultError(
            f"ledger of moving objects: found {len(rows)} states for {len(keys)} searches and the"
            f" unknown states {wrong}, expected one known state for each"
        )
    return pa.Table.from_pylist(rows, schema=MOVING_LEDGER)


def merge_moving(
    *,
    statuses: Sequence[Path],
    n_expected: int,
    matches_path: Path,
    lightcurves_path: Path,
    labelled_path: Path,
    ledger_path: Path,
) -> None:
    """Bring all matches together.

    Parameters
    ----------
    statuses : sequence of Path
        The status of every block's matches; the matches lie beside it.
    n_expected : int
        How many states there must be: objects x windows x sources.
    matches_path : Path
        Folder of the matches, a file for each object that has some.
    lightcurves_path : Path
        The matches in the schema of the fixed targets' light curves.
    labelled_path : Path
        The matches and their negatives.
    ledger_path : Path

    Raises
    ------
    ResultError
        If what the files hold does not add up.
    """
    records: list[dict[str, Any]] = []
    tables = []
    for status in sorted(statuses):
        found = json.loads(status.read_text())["records"]
        records += found
        tables.append(read_rows(status.parent, found))
    table = ledger(records)
    if table.num_rows != n_expected:
        raise ResultError(
            f"ledger of moving objects: found {table.num_rows} states, expected {n_expected}"
        )
    rows = pa.concat_tables([LABELLED.empty_table(), *tables])
    rows = rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in _ROW_ORDER]))
    matches = rows.filter(pc.equal(rows["label"], 1)).select(MATCH.names)
    shutil.rmtree(matches_path, ignore_errors=True)
    matches_path.mkdir(parents=True)
    objects = matches["objectid"].to_numpy(zero_copy_only=False)
    for name in np.unique(objects.astype(str)):
        mine = matches.filter(pc.equal(matches["objectid"], name))
        write_table(matches_path / f"{file_name(name)}.parquet", mine, MATCH)
    write_table(lightcurves_path, light_curves(matches), LIGHTCURVE)
    write_table(labelled_path, rows, LABELLED)
    write_table(ledger_path, table, MOVING_LEDGER)


def check_moving(*, ledger_path: Path, summary_path: Path, allow_partial: bool) -> None:
    """Count the states, and end with an error if searches are left to repeat.

    Raises
    ------
    ResultError
        If searches failed and ``allow_partial`` is false. All other results are there.
    """
    table = pq.read_table(ledger_path)
    counted = pc.value_counts(table["state"]).to_pylist()
    counts = {one["values"]: one["counts"] for one in counted}
    left = table.filter(pc.is_in(table["state"], pa.array(sorted(OPEN_STATES))))
    if left.num_rows and not allow_partial:
        first = left.slice(0, 1).to_pylist()[0]
        raise ResultError(
            f"moving objects: {left.num_rows} of {table.num_rows} searches failed, the first"
            f" ({first['objectid']}, {first['window']}, {first['source']}) with:"
            f" {first['message']}. What was found is kept, {ledger_path} has every state; run again"
            " to ask for these, or set allow_partial: true to go on without them"
        )
    write_json(
        summary_path,
        {
            "states": counts,
            "matches": int(pc.sum(table["n_matches"]).as_py() or 0),
            "cones": int(pc.sum(table["n_requests"]).as_py() or 0),
        },
    )
