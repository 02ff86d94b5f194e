"""The tables that Lightloom writes: their columns, types, units and meaning.

Every table is checked against its schema when it is written. A field's metadata holds its
``unit`` (VOUnits), its ``ucd`` (IVOA UCD1+) and a ``description``; docs/data-model.md is the prose.
"""

import pyarrow as pa

from lightloom.errors import ResultError

#: States in which a target x archive can end; see docs/data-model.md.
STATES = (
    "data",
    "ambiguous",
    "truncated",
    "searched_empty",
    "outside_footprint",
    "failed",
    "not_requested",
)

#: States after which nothing is left to ask.
FINAL_STATES = frozenset(STATES) - {"failed", "truncated"}

#: Kinds of light-curve rows.
KINDS = ("detection", "limit", "forced", "event")

#: Values of the common quality column.
QUALITY_GOOD, QUALITY_SUSPECT, QUALITY_BAD = 0, 1, 2


def column(
    name: str,
    type_: pa.DataType,
    description: str,
    *,
    unit: str = "",
    ucd: str = "",
    nullable: bool = True,
) -> pa.Field:
    """Return a column with its description, unit (VOUnits) and UCD."""
    metadata = {"description": description, "unit": unit, "ucd": ucd}
    return pa.field(name, type_, nullable, {k: v for k, v in metadata.items() if v})


LIGHTCURVE = pa.schema(
    [
        column(
            "objectid",
            pa.string(),
            "the target, as the sample names it",
            ucd="meta.id;meta.main",
            nullable=False,
        ),
        column(
            "archive",
            pa.string(),
            "catalogue entry the row comes from",
            ucd="meta.curation",
            nullable=False,
        ),
        column(
            "band",
            pa.string(),
            "band, as the archive names it",
            ucd="instr.bandpass",
            nullable=False,
        ),
        column(
            "time_mjd",
            pa.float64(),
            "time as published, in time_scale at time_ref",
            unit="d",
            ucd="time.epoch",
        ),
        column(
            "time_scale",
            pa.string(),
            "time scale of time_mjd: utc, tai, tdb or tcb",
            ucd="time.scale",
            nullable=False,
        ),
        column(
            "time_ref",
            pa.string(),
            "place to which time_mjd refers: topocentre, geocentre, heliocentre or barycentre",
            ucd="meta.ref",
            nullable=False,
        ),
        column(
            "time_mjd_tdb",
            pa.float64(),
            "the same instant as MJD in TDB at the barycentre",
            unit="d",
            ucd="time.epoch",
        ),
        column(
            "flux_mjy",
            pa.float64(),
            "flux density, null where none is defined",
            unit="mJy",
            ucd="phot.flux.density",
        ),
        column(
            "flux_err_mjy",
            pa.float64(),
            "1-sigma error of flux_mjy",
            unit="mJy",
            ucd="stat.error;phot.flux.density",
        ),
        column("native_value", pa.float64(), "the value as published, in native_unit", ucd="phot"),
        column(
            "native_err", pa.float64(), "its 1-sigma error, in native_unit", ucd="stat.error;phot"
        ),
        column(
            "native_unit",
            pa.string(),
            "unit of native_value and native_err",
            ucd="meta.unit",
            nullable=False,
        ),
        column(
            "mag_system",
            pa.string(),
            "magnitude system of the native value: AB or Vega",
            ucd="meta.code",
        ),
        column("flags_native", pa.int64(), "the archive's own flag bits", ucd="meta.code.qual"),
        column(
            "quality",
            pa.int8(),
            "0 good, 1 suspect, 2 bad, by the archive's recommended use of its flags",
            ucd="meta.code.qual",
            nullable=False,
        ),
        column(
            "kind",
            pa.string(),
            "detection, limit, forced or event",
            ucd="meta.code.class",
            nullable=False,
        ),
        column("survey_object_id", pa.string(), "the source's id in the archive", ucd="meta.id"),
        column(
            "survey_field",
            pa.string(),
            "field (or tile) and detector of the observation",
            ucd="meta.id;obs.field",
        ),
        column(
            "exposure_id",
            pa.string(),
            "the exposure's id in the archive",
            ucd="meta.id;obs.exposure",
        ),
        column(
            "match_arcsec",
            pa.float64(),
            "distance of the source from the target at the catalogue's epoch",
            unit="arcsec",
            ucd="pos.angDistance",
        ),
        column(
            "exposure_s", pa.float64(), "exposure time", unit="s", ucd="time.duration;obs.exposure"
        ),
        column(
            "native_columns",
            pa.string(),
            "further native columns as a JSON object",
            ucd="meta.note",
        ),
    ]
)

SHARD = pa.schema(
    [
        column("objectid", pa.string(), "the target's id", ucd="meta.id;meta.main", nullable=False),
        column(
            "ra_deg",
            pa.float64(),
            "right ascension, ICRS",
            unit="deg",
            ucd="pos.eq.ra;meta.main",
            nullable=False,
        ),
        column(
            "dec_deg",
            pa.float64(),
            "declination, ICRS",
            unit="deg",
            ucd="pos.eq.dec;meta.main",
            nullable=False,
        ),
        column(
            "pmra_masyr",
            pa.float64(),
            "proper motion in ra, times cos(dec)",
            unit="mas.yr-1",
            ucd="pos.pm;pos.eq.ra",
        ),
        column(
            "pmdec_masyr",
            pa.float64(),
            "proper motion in dec",
            unit="mas.yr-1",
            ucd="pos.pm;pos.eq.dec",
        ),
        column("parallax_mas", pa.float64(), "parallax", unit="mas", ucd="pos.parallax"),
        column(
            "ref_epoch_jyear",
            pa.float64(),
            "epoch of the position, Julian year",
            unit="yr",
            ucd="meta.ref;time.epoch",
        ),
        column(
            "_healpix_29",
            pa.int64(),
            "nested HEALPix cell of order 29",
            ucd="pos.healpix",
            nullable=False,
        ),
    ]
)

SAMPLE = pa.schema(
    [
        *SHARD,
        column("labels", pa.list_(pa.string()), "every label given to the target", nullable=False),
        column("source_ids", pa.list_(pa.string()), "every id given to the target", nullable=False),
        column("shard", pa.string(), "the shard it falls in", nullable=False),
    ]
)

#: Rows of a light curve on their way: ``target`` is the target's row in its shard.
TARGET_ROWS = pa.schema(
    [
        pa.field("target", pa.int64(), nullable=False),
        *(field for field in LIGHTCURVE if field.name not in ("objectid", "archive")),
    ]
)

#: Kept apart from the sample: row numbers change with the order of a table, targets do not.
SOURCE_ROWS = pa.schema(
    [
        column("objectid", pa.string(), "the target", ucd="meta.id;meta.main", nullable=False),
        column(
            "source_rows",
            pa.list_(pa.string()),
            "source:row of each row merged into it",
            nullable=False,
        ),
    ]
)

#: Kept apart for the same reason: what nobody uses here changes no target.
EXTRA_COLUMNS = pa.schema(
    [
        column("objectid", pa.string(), "the target", ucd="meta.id;meta.main", nullable=False),
        column("source", pa.string(), "the table", ucd="meta.id", nullable=False),
        column(
            "row", pa.int64(), "the row in the table, from 1", ucd="meta.number", nullable=False
        ),
        column(
            "extra_columns",
            pa.string(),
            "its further columns as a JSON object, each value as it is written",
            ucd="meta.note",
            nullable=False,
        ),
    ]
)

LEDGER = pa.schema(
    [
        column("objectid", pa.string(), "the target", ucd="meta.id;meta.main", nullable=False),
        column("archive", pa.string(), "the archive", ucd="meta.curation", nullable=False),
        column(
            "state", pa.string(), "how the search ended", ucd="meta.code.status", nullable=False
        ),
        column("n_rows", pa.int64(), "light-curve rows", ucd="meta.number", nullable=False),
        column(
            "n_sources", pa.int64(), "survey objects matched", ucd="meta.number", nullable=False
        ),
        column(
            "match_arcsec",
            pa.float64(),
            "distance of the nearest match",
            unit="arcsec",
            ucd="pos.angDistance",
        ),
        column(
            "n_offsets",
            pa.int64(),
            "positions beside the target at which it was looked for matches by chance",
            ucd="meta.number",
            nullable=False,
        ),
        column(
            "n_offset_matches",
            pa.int64(),
            "of these, positions with a match",
            ucd="meta.number",
            nullable=False,
        ),
        column("error_class", pa.string(), "class of the failure", ucd="meta.code.error"),
        column(
            "message",
            pa.string(),
            "what went wrong, or why the match is ambiguous",
            ucd="meta.note",
        ),
        column("release", pa.string(), "data release asked", ucd="meta.version"),
        column("shard", pa.string(), "the shard it was asked in", ucd="meta.id", nullable=False),
    ]
)


def conform(table: pa.Table, schema: pa.Schema, what: str) -> pa.Table:
    """Return ``table`` with exactly the columns, order, types and metadata of ``schema``.

    Parameters
    ----------
    table : pyarrow.Table
        The table to be written.
    schema : pyarrow.Schema
        One of the schemas of this module.
    what : str
        What the table is, for the error message.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ResultError
        If a column is missing, unknown, of another type, or null where it must not be.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    if missing or unknown:
        raise ResultError(f"{what}: missing columns {missing}, unknown columns {unknown}")
    table = table.select(schema.names)
    for field in schema:
        column = table.column(field.name)
        if column.type != field.type:
            raise ResultError(
                f"{what}: column {field.name!r} has type {column.type}, expected {field.type}"
            )
        if not field.nullable and column.null_count:
            raise ResultError(
                f"{what}: column {field.name!r} has {column.null_count} nulls, expected none"
            )
    return table.cast(schema)
