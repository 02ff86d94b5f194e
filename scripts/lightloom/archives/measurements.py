"""From the columns of a catalogue to light-curve rows: brightness, time, quality and names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.conditions import any_holds, is_text
from lightloom.config import ArchiveSpec
from lightloom.config_checks import band_roles
from lightloom.errors import ArchiveSchemaError
from lightloom.schema import QUALITY_BAD, QUALITY_GOOD, QUALITY_SUSPECT, TARGET_ROWS
from lightloom.times import to_mjd_tdb_barycentre
from lightloom.units import ab_mag_to_mjy, flux_factor

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Measurements:
    """One kind of measurement in each row of a catalogue.

    Attributes
    ----------
    columns : mapping of str to str or list of str
        Columns by their role, as in a catalogue entry.
    bands : mapping of str to mapping
        Bands by their code; a single one if the rows do not name it.
    quality : tuple of mapping
        Conditions on bad and suspect rows.
    """

    columns: Mapping[str, Any]
    bands: Mapping[str, Mapping[str, Any]]
    quality: tuple[Mapping[str, list[list[Any]]], ...]


def measurements_of(spec: ArchiveSpec) -> list[Measurements]:
    """Return the kinds of measurement that a row of a catalogue holds.

    Parameters
    ----------
    spec : ArchiveSpec

    Returns
    -------
    list of Measurements
        One if a column names the band, else one for each band.
    """
    if "band" in spec.columns:
        return [Measurements(spec.columns, spec.bands, (spec.quality,))]
    return [
        Measurements(
            band_roles(spec.columns, band), {code: band}, (spec.quality, band.get("quality", {}))
        )
        for code, band in spec.bands.items()
    ]


def light_curve_rows(found: pa.Table, shard: pa.Table, spec: ArchiveSpec) -> pa.Table:
    """Turn matched catalogue rows into light-curve rows of their targets.

    Parameters
    ----------
    found : pyarrow.Table
        ``target`` (row of the shard, ascending), ``match_arcsec`` and the columns of the entry, by
        the last part of their names.
    shard : pyarrow.Table
        Targets in the ``SHARD`` schema.
    spec : ArchiveSpec

    Returns
    -------
    pyarrow.Table
        The columns of ``TARGET_ROWS``, ordered by target. Where a row of the catalogue holds
        several bands, a band with neither time nor brightness was not observed and gives no row.

    Raises
    ------
    ArchiveSchemaError
        If a column has a type that its role cannot have, or names an unknown band.
    """
    kinds = measurements_of(spec)
    if len(kinds) == 1:
        return _rows(found, shard, spec, kinds[0])
    rows = pa.concat_tables([_rows(found, shard, spec, kind) for kind in kinds])
    observed = pc.or_(rows["time_mjd"].is_valid(), rows["native_value"].is_valid())
    # Arrow's sort is stable: rows of a target stay in the order of the bands.
    return rows.filter(observed).sort_by("target")


def _rows(found: pa.Table, shard: pa.Table, spec: ArchiveSpec, measured: Measurements) -> pa.Table:
    n_rows = found.num_rows
    columns = measured.columns
    target = found["target"].to_numpy()
    time_mjd = _numbers(found, columns["time"], spec.missing) + spec.time["offset_days"]
    value = _numbers(found, columns["value"], spec.missing)
    error = _errors(found, columns, value, spec.missing)
    band, flux_mjy, flux_err_mjy = _photometry(found, spec, measured, value, error)
    time_mjd_tdb = to_mjd_tdb_barycentre(
        time_mjd,
        shard["ra_deg"].to_numpy()[target],
        shard["dec_deg"].to_numpy()[target],
        time_scale=spec.time["scale"],
        time_ref=spec.time["ref"],
    )
    system = spec.units["mag_system"]
    fields = [as_text(found[bare_name(name)]) for name in columns["field"]]
    extra = {bare_name(name): found[bare_name(name)] for name in columns["extra"]}
    rows = {
        "target": found["target"],
        "band": band,
        "time_mjd": time_mjd,
        "time_scale": constant_text(spec.time["scale"], n_rows),
        "time_ref": constant_text(spec.time["ref"], n_rows),
        "time_mjd_tdb": time_mjd_tdb,
        "flux_mjy": flux_mjy,
        "flux_err_mjy": flux_err_mjy,
        "native_value": value,
        "native_err": error,
        "native_unit": constant_text(spec.units["native"], n_rows),
        "mag_system": constant_text(None if system == "none" else system, n_rows),
        "flags_native": found[bare_name(columns["flags"])].cast(pa.int64())
        if "flags" in columns
        else pa.nulls(n_rows, pa.int64()),
        "quality": _quality(found, measured, value),
        "kind": constant_text(spec.kind, n_rows),
        "survey_object_id": as_text(found[bare_name(columns["object_id"])]),
        "survey_field": pc.binary_join_element_wise(*fields, "/")
        if fields
        else constant_text(None, n_rows),
        "exposure_id": as_text(found[bare_name(columns["exposure_id"])])
        if "exposure_id" in columns
        else constant_text(None, n_rows),
        "match_arcsec": found["match_arcsec"],
        "exposure_s": _numbers(found, columns["exposure_s"], spec.missing)
        if "exposure_s" in columns
        else pa.nulls(n_rows, pa.float64()),
        "native_columns": json_objects(extra) if extra else constant_text(None, n_rows),
    }
    return pa.table({name: _column(rows[name]) for name in TARGET_ROWS.names})


def _column(values: Any) -> Any:
    return pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else values


def _numbers(found: pa.Table, column: str, missing: list[float]) -> FloatArray:
    """Return a column as doubles, with NaN for what is missing."""
    values = found[bare_name(column)]
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise ArchiveSchemaError(f"column {column!r} has type {values.type}, expected numbers")
    numbers: FloatArray = values.to_numpy().astype(np.float64)
    if missing:
        numbers[np.isin(numbers, missing)] = np.nan
    return numbers


def _errors(
    found: pa.Table, columns: Mapping[str, Any], value: FloatArray, missing: list[float]
) -> FloatArray:
    if "error" in columns:
        return _numbers(found, columns["error"], missing)
    ratio = _numbers(found, columns["value_over_error"], missing)
    # A brightness of exactly zero leaves its error open.
    ratio[ratio == 0.0] = np.nan
    return np.abs(value / ratio)


def _photometry(
    found: pa.Table,
    spec: ArchiveSpec,
    measured: Measurements,
    value: FloatArray,
    error: FloatArray,
) -> tuple[pa.Array, FloatArray, FloatArray]:
    """Return the band's name, the flux and its error [mJy] of each row."""
    codes, index = _band_codes(found, measured)
    bands = [measured.bands[code] for code in codes]
    names = pa.array([band["name"] for band in bands], pa.string()).take(pa.array(index))
    native = spec.units["native"]
    if native == "mag":
        offsets_mag = np.array([band.get("ab_minus_vega_mag", 0.0) for band in bands])
        return names, *ab_mag_to_mjy(value + offsets_mag[index], error)
    factors = [
        flux_factor(
            native,
            ab_minus_vega_mag=band.get("ab_minus_vega_mag", 0.0),
            ab_zero_point_mag=band.get("ab_zero_point_mag"),
        )
        for band in bands
    ]
    factor = np.array(factors, dtype=np.float64)[index]
    return names, value * factor, error * factor


def _band_codes(found: pa.Table, measured: Measurements) -> tuple[list[str], NDArray[np.int64]]:
    """Return the codes of the bands that occur, and the number of the code of each row."""
    if "band" not in measured.columns:
        return list(measured.bands), np.zeros(found.num_rows, np.int64)
    column = measured.columns["band"]
    codes = as_text(found[bare_name(column)]).combine_chunks().dictionary_encode()
    known = codes.dictionary.to_pylist()
    unknown = sorted(code for code in known if code not in measured.bands)
    if unknown or codes.null_count:
        raise ArchiveSchemaError(
            f"column {column!r}: found bands {unknown or [None]}, expected {sorted(measured.bands)}"
        )
    return known, codes.indices.to_numpy().astype(np.int64)


def _quality(found: pa.Table, measured: Measurements, value: FloatArray) -> NDArray[np.int8]:
    quality = np.full(found.num_rows, QUALITY_GOOD, np.int8)
    for level, name in ((QUALITY_SUSPECT, "suspect"), (QUALITY_BAD, "bad")):
        for conditions in measured.quality:
            quality[any_holds(found, conditions.get(name, ()))] = level
    quality[np.isnan(value)] = QUALITY_BAD
    return quality


def bare_name(column: str) -> str:
    """Name of a nested column once it is flattened."""
    return column.rpartition(".")[2]


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ids or codes as text."""
    return values.cast(pa.string())


def constant_text(value: str | None, n_rows: int) -> pa.Array:
    """Return a column that holds the same text in every row."""
    return pa.repeat(pa.scalar(value, pa.string()), n_rows)


def json_objects(columns: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    """Encode columns as one JSON object per row.

    Parameters
    ----------
    columns : mapping of str to pyarrow.ChunkedArray
        Numbers, booleans or strings. Integers keep all their digits, floats the shortest ones that
        give them back.

    Returns
    -------
    pyarrow.ChunkedArray of string
        Objects with the keys in the given order; null, NaN and infinity become ``null``.
    """
    pieces: list[Any] = []
    for name, values in columns.items():
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
        if is_text(values.type):
            encoded = as_text(values).combine_chunks().dictionary_encode()
            words = pa.array(
                [json.dumps(word) for word in encoded.dictionary.to_pylist()], pa.string()
            )
            values = pa.chunked_array([words.take(encoded.indices)])
        prefix = ("{" if not pieces else ",") + json.dumps(name) + ":"
        pieces += [pa.scalar(prefix), pc.fill_null(as_text(values), "null")]
    return pc.binary_join_element_wise(*pieces, pa.scalar("}"), pa.scalar(""))
