"""The ADQL with which light curves are asked for, made from a catalogue entry.

Two queries: ``match`` finds the objects near the targets, ``rows`` their measurements; a table that
holds the measurements themselves needs ``match`` alone. Both start from the uploaded table with a
LEFT OUTER JOIN, so that every uploaded row comes back at least once: a reply in which one is
missing is not whole. Imported whenever the Snakefile is read, so nothing heavy may be imported.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightloom.config_checks import payload_columns

#: Tables of a query: the uploaded one (targets or objects), then the archive's.
UPLOAD, OBJECTS, MEASUREMENTS, EXPOSURES = "up", "obj", "meas", "expo"

#: Columns of the uploads. HEASARC refuses names that the archive's own table has.
TARGET, TARGET_RA, TARGET_DEC, ASKED_ID = "target", "target_ra", "target_dec", "asked_id"

#: The measurement's own object id: null in the row of an object without measurements.
FOUND_ID = "found_id"

#: Units of an error radius, in parts of a degree.
PER_DEGREE = {"deg": 1, "arcmin": 60, "arcsec": 3600}

#: By how much a service searches beyond an event's circle, for its rounding [deg].
EVENT_MARGIN_DEG = 1e-5


@dataclass(frozen=True)
class Column:
    """A column of a reply, and the ADQL that gives it."""

    name: str
    adql: str


class QueryWriter:
    """Writes the queries of a catalogue entry.

    Parameters
    ----------
    columns : mapping
        Columns of the entry, by their role.
    bands : mapping
        Its bands, by their code.
    options : mapping
        Options of the module ``tap_lightcurve``.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        bands: Mapping[str, Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        self._options = options
        self._ra, self._dec, self._id = columns["ra"], columns["dec"], columns["object_id"]
        payload = [name for name in payload_columns(columns, bands) if name != self._id]
        self._payload = [self._column(name, self._home) for name in payload]

    @property
    def is_joined(self) -> bool:
        """Whether the measurements lie in a table of their own."""
        return "measurements" in self._options

    @property
    def uploads_targets(self) -> bool:
        """Whether the targets go up as a table."""
        return bool(self._options["upload"])

    @property
    def uploads_objects(self) -> bool:
        """Whether the objects whose measurements are asked for go up as a table."""
        return bool(self._options["measurements"]["upload"])

    @property
    def position(self) -> tuple[str, str]:
        """Names of the columns of the position in a reply."""
        return self._column(self._ra, OBJECTS).name, self._column(self._dec, OBJECTS).name

    @property
    def object_id(self) -> str:
        """Name of the column of the object's id in a reply."""
        return self._column(self._id, OBJECTS).name

    @property
    def _home(self) -> str:
        return MEASUREMENTS if self.is_joined else OBJECTS

    def _column(self, name: str, home: str) -> Column:
        """Return a column: an expression of the entry, or one of a table (``home`` if not told)."""
        if name in self._options["expressions"]:
            return Column(
                name, f"{self._options['expressions'][name]} AS {_quoted(name, self._options)}"
            )
        table, _, bare = name.rpartition(".")
        return Column(bare, f"{table or home}.{_quoted(bare, self._options)}")

    def match_columns(self) -> list[Column]:
        """Return the columns of the reply to ``match``."""
        target = [Column(TARGET, f"{UPLOAD}.{TARGET}")] if self.uploads_targets else []
        found = [self._column(name, OBJECTS) for name in (self._id, self._ra, self._dec)]
        columns = [*target, *found, *([] if self.is_joined else self._payload)]
        return list({column.name.lower(): column for column in columns}.values())

    def row_columns(self) -> list[Column]:
        """Return the columns of the reply to ``rows``."""
        asked = [Column(ASKED_ID, f"{UPLOAD}.{ASKED_ID}")] if self.uploads_objects else []
        link = self._column(self._options["measurements"]["object_id"], MEASUREMENTS)
        return [*asked, Column(FOUND_ID, f"{link.adql} AS {FOUND_ID}"), *self._payload]

    def match(self, radius_deg: float, circles: Sequence[tuple[float, float]] = ()) -> str:
        """Return the query for the objects near the targets.

        Parameters
        ----------
        radius_deg : float
            Radius around each target [deg].
        circles : sequence of (float, float)
            Positions of the targets [deg], if they are not uploaded.
        """
        return self._template("match").format(
            columns=_select(self.match_columns()),
            targets=f"TAP_UPLOAD.targets AS {UPLOAD}",
            radius_deg=_number(radius_deg),
            circles=" OR ".join(
                self._contains(_number(ra), _number(dec), _number(radius_deg))
                for ra, dec in circles
            ),
        )

    def rows(self, ids: Sequence[int | str] = ()) -> str:
        """Return the query for the measurements of objects.

        Parameters
        ----------
        ids : sequence of int or str
            The objects, if they are not uploaded.
        """
        return self._template("rows").format(
            columns=_select(self.row_columns()),
            objects=f"TAP_UPLOAD.objects AS {UPLOAD}",
            ids=", ".join(map(_literal, ids)),
        )

    def _template(self, name: str) -> str:
        given = self._options["adql"].get(name)
        if given is not None:
            return " ".join(given.split())
        return self._match_template() if name == "match" else self._rows_template()

    def _match_template(self) -> str:
        table = f"{self._options['table']} AS {OBJECTS}"
        where = self._options["where"]
        condition = f" AND ({where})" if where else ""
        exposures = "" if self.is_joined else self._exposures()
        if not self.uploads_targets:
            return f"SELECT {{columns}} FROM {table}{exposures} WHERE ({{circles}}){condition}"
        near = self._contains(f"{UPLOAD}.{TARGET_RA}", f"{UPLOAD}.{TARGET_DEC}", "{radius_deg}")
        return (
            f"SELECT {{columns}} FROM {{targets}} {self._join} {table} ON {near}{condition}"
            f"{exposures}"
        )

    def _rows_template(self) -> str:
        measurements = self._options["measurements"]
        table = f"{measurements['table']} AS {MEASUREMENTS}"
        link = self._column(measurements["object_id"], MEASUREMENTS).adql
        if not self.uploads_objects:
            return f"SELECT {{columns}} FROM {table}{self._exposures()} WHERE {link} IN ({{ids}})"
        return (
            f"SELECT {{columns}} FROM {{objects}} {self._join} {table}"
            f" ON {link} = {UPLOAD}.{ASKED_ID}{self._exposures()}"
        )

    @property
    def _join(self) -> str:
        return "LEFT OUTER JOIN" if self._options["counted"] else "INNER JOIN"

    def _exposures(self) -> str:
        if "exposures" not in self._options:
            return ""
        exposures = self._options["exposures"]
        key = self._column(exposures["key"], EXPOSURES).adql
        own_key = self._column(exposures["measurement_key"], self._home).adql
        # A measurement whose exposure is not listed is a measurement all the same.
        return f" LEFT OUTER JOIN {exposures['table']} AS {EXPOSURES} ON {key} = {own_key}"

    def _contains(self, ra: str, dec: str, radius_deg: str) -> str:
        own = f"{self._column(self._ra, OBJECTS).adql}, {self._column(self._dec, OBJECTS).adql}"
        return _is_within(own, f"{ra}, {dec}", radius_deg)


def event_columns(columns: Mapping[str, Any], options: Mapping[str, Any]) -> list[Column]:
    """Return the columns of an event, of the options of the module ``heasarc``."""
    roles = [
        columns[role] for role in ("object_id", "ra", "dec", "time", "value") if role in columns
    ]
    names = dict.fromkeys([*roles, options["error_radius"]["column"], *columns["extra"]])
    return [Column(name, f"{OBJECTS}.{_quoted(name, options)}") for name in names]


def events_near_targets(columns: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return the query for the events in whose error circles the uploaded targets lie."""
    ra, dec = (f"{OBJECTS}.{_quoted(columns[role], options)}" for role in ("ra", "dec"))
    error_radius = options["error_radius"]
    radius = f"{OBJECTS}.{_quoted(error_radius['column'], options)}"
    factor = options["error_radius_factor"] / PER_DEGREE[error_radius["unit"]]
    added_deg = options["systematic_deg"] + EVENT_MARGIN_DEG
    near = _is_within(
        f"{UPLOAD}.{TARGET_RA}, {UPLOAD}.{TARGET_DEC}",
        f"{ra}, {dec}",
        f"{radius} * {_number(factor)} + {_number(added_deg)}",
    )
    where = f" AND ({options['where']})" if options["where"] else ""
    join = "LEFT OUTER JOIN" if options["counted"] else "INNER JOIN"
    selected = _select([Column(TARGET, f"{UPLOAD}.{TARGET}"), *event_columns(columns, options)])
    return (
        f"SELECT {selected} FROM TAP_UPLOAD.targets AS {UPLOAD} {join}"
        f" {options['table']} AS {OBJECTS} ON {near}{where}"
    )


def events_between(
    columns: Mapping[str, Any], options: Mapping[str, Any], low_deg: float, high_deg: float
) -> str:
    """Return the query for the events with declinations from ``low_deg`` to below ``high_deg``."""
    dec = f"{OBJECTS}.{_quoted(columns['dec'], options)}"
    where = f" AND ({options['where']})" if options["where"] else ""
    return (
        f"SELECT {_select(event_columns(columns, options))} FROM {options['table']} AS {OBJECTS}"
        f" WHERE {dec} >= {_number(low_deg)} AND {dec} < {_number(high_deg)}{where}"
    )


def _quoted(name: str, options: Mapping[str, Any]) -> str:
    return f'"{name}"' if name in options["quote"] else name


def _is_within(point: str, centre: str, radius_deg: str) -> str:
    return f"1=CONTAINS(POINT('ICRS', {point}), CIRCLE('ICRS', {centre}, {radius_deg}))"


def counting(query: str) -> str:
    """Return a query for the number of rows that another query has.

    Parameters
    ----------
    query : str
        ADQL of the form ``SELECT ... FROM ...`` without grouping and order.
    """
    head = re.match(r"\s*SELECT\s.*?\sFROM\s", query, re.IGNORECASE | re.DOTALL)
    if head is None:
        raise ValueError(f"no SELECT ... FROM ... in {query!r}")
    return f"SELECT COUNT(*) AS n_rows FROM {query[head.end() :]}"


def _select(columns: Sequence[Column]) -> str:
    return ", ".join(column.adql for column in columns)


def _number(value: float) -> str:
    """Write a number without an exponent, which some services cannot read."""
    return f"{value:.12f}".rstrip("0").rstrip(".") or "0"


def _literal(value: int | str) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
