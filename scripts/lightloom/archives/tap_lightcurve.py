"""Any TAP service whose catalogue entry names the tables and columns of its light curves.

The targets of a request go up as a table, and the objects near them come back; their measurements
are then asked for by the objects' ids. A table that holds the measurements themselves needs the
first of the two questions alone. The service searches a slightly larger circle than the entry says:
what matches is decided here, by exact distances.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.archives.measurements import (
    as_text,
    bare_name,
    constant_text,
    light_curve_rows,
)
from lightloom.config import ArchiveSpec
from lightloom.errors import ArchiveError, TruncatedAnswerError
from lightloom.motion import positions_at
from lightloom.schema import TARGET_ROWS
from lightloom.services.tap import Service, WholeReplies
from lightloom.services.tap_adql import ASKED_ID, FOUND_ID, Column, QueryWriter
from lightloom.services.tap_search import (
    ask_about_circles,
    ask_about_listed,
    ask_about_objects,
    ask_about_targets,
    within_radius,
)
from lightloom.services.tap_votable import ExpectedColumn

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Failures = dict[int, TruncatedAnswerError]

#: Units of columns by their role, as services name them.
_UNITS = {"ra": "deg", "dec": "deg", "time": "d", "exposure_s": "s"}

#: Further roles that hold numbers.
_NUMBERS = ("value", "error", "value_over_error")

#: Native units that services do not name.
_UNNAMED_UNITS = ("nMgy", "Vega nMgy", "relative", "none")


class TapLightcurve(Archive):
    """Light curves from the tables of a TAP service."""

    def __init__(self, spec: ArchiveSpec, state: Path) -> None:
        super().__init__(spec, state)
        self._writer = QueryWriter(spec.columns, spec.bands, spec.options)
        self._known = known_columns(spec, spec.options["expressions"])

    def plan(self, shard: pa.Table) -> RequestPlan:
        return plan_along_sky(shard, self.spec.limits["targets_per_query"])

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        service = Service(self.spec, self.state)
        asked = shard.take(pa.array(request.targets))
        ra_deg, dec_deg = positions_at(
            asked, self.spec.epoch_jyear, annual_parallax=self.spec.annual_parallax
        )
        found, incomplete = self._objects(service, ra_deg, dec_deg, self.spec.radius_arcsec)
        sources = pa.table(
            [found["target"], as_text(found[self._writer.object_id]), found["match_arcsec"]],
            schema=SOURCES,
        )
        measured: pa.Table | None = found
        if self._writer.is_joined:
            measured, failed = self._measurements(service, found)
            incomplete |= failed
        rows = (
            TARGET_ROWS.empty_table()
            if measured is None
            else light_curve_rows(measured.sort_by("target"), asked, self.spec)
        )
        return numbered(
            request, Answer(rows, sources, service.session.reads, incomplete=incomplete)
        )

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        if self.spec.unique_objects:
            observation = constant_text("any", rows.num_rows)
        else:
            # Fields and detectors are those of many exposures here, but two exposures of a survey
            # in the same band do not begin in the same moment.
            moment = pc.coalesce(as_text(rows["time_mjd"]), rows["exposure_id"])
            observation = pc.binary_join_element_wise(rows["band"], moment, "/")
        competing = pa.table(
            {
                "target": rows["target"],
                "observation": observation,
                "survey_object_id": rows["survey_object_id"],
            }
        )
        return competing.filter(competing["observation"].is_valid())

    def _objects(
        self,
        service: Service,
        ra_deg: FloatArray,
        dec_deg: FloatArray,
        radius_arcsec: float,
    ) -> tuple[pa.Table, Failures]:
        """Return the rows of the objects' table near the targets, and targets without a reply."""
        options = self.spec.options
        expected = self._expected(self._writer.match_columns())
        position = self._writer.position
        searched_deg = (radius_arcsec + options["match_margin_arcsec"]) / 3600
        if self._writer.uploads_targets:
            replies = ask_about_targets(
                service,
                self._writer.match(searched_deg),
                expected,
                ra_deg,
                dec_deg,
                counted=options["counted"],
            )
        else:
            replies = ask_about_circles(
                service,
                lambda circles: self._writer.match(searched_deg, circles),
                expected,
                position,
                ra_deg,
                dec_deg,
                radius_arcsec,
            )
        if not replies.tables:
            raise next(iter(replies.failures.values()))
        reply = pa.concat_tables(replies.tables)
        found = within_radius(reply, position, ra_deg, dec_deg, radius_arcsec)
        order = [("target", "ascending"), (self._writer.object_id, "ascending")]
        return found.sort_by(order), replies.failures

    def _measurements(self, service: Service, found: pa.Table) -> tuple[pa.Table | None, Failures]:
        """Return the measurements of the objects found, and targets without all of theirs."""
        found_ids = found[self._writer.object_id]
        ids = pc.unique(found_ids)
        ids = ids.take(pc.sort_indices(ids))
        of_found = pc.index_in(found_ids, ids).to_numpy()
        tables: list[pa.Table] = []
        failures: Failures = {}
        n_objects = self.spec.limits["objects_per_query"]
        for first in range(0, len(ids), n_objects):
            replies = self._ask_about(service, ids.slice(first, n_objects))
            tables += replies.tables
            for number, error in replies.failures.items():
                targets = found["target"].to_numpy()[of_found == first + number]
                failures |= {int(target): error for target in targets}
        if not tables:
            return None, failures
        reply = pa.concat_tables(tables)
        reply = reply.filter(reply[FOUND_ID].is_valid())
        row, match = _pairs(pc.index_in(reply[ASKED_ID], ids).to_numpy(), of_found)
        payload = reply.drop_columns([ASKED_ID, FOUND_ID]).take(pa.array(row))
        matches = found.select(["target", "match_arcsec", self._writer.object_id])
        for name, column in zip(matches.column_names, matches.columns, strict=True):
            payload = payload.append_column(name, column.take(pa.array(match)))
        return payload, failures

    def _ask_about(self, service: Service, ids: pa.Array) -> WholeReplies:
        expected = self._expected(self._writer.row_columns())
        if not self._writer.uploads_objects:
            return ask_about_listed(service, self._writer.rows, expected, ids)
        counted = self.spec.options["counted"]
        return ask_about_objects(service, self._writer.rows(), expected, ids, counted=counted)

    def _expected(self, columns: Sequence[Column]) -> list[ExpectedColumn]:
        return [self._known.get(column.name, ExpectedColumn(column.name)) for column in columns]

    def probe(self) -> None:
        service = Service(self.spec, self.state)
        service.check_limit()
        known = self.spec.options["probe"]
        position = np.array([known["ra"]]), np.array([known["dec"]])
        radius_arcsec = known.get("radius_arcsec", self.spec.radius_arcsec)
        found, incomplete = self._objects(service, *position, radius_arcsec)
        measured: pa.Table | None = found
        if self._writer.is_joined:
            nearest = found.sort_by("match_arcsec").slice(0, 1)
            measured, incomplete = self._measurements(service, nearest)
        check_known_target(self.spec, 0 if measured is None else measured.num_rows, incomplete)


def check_known_target(spec: ArchiveSpec, n_rows: int, incomplete: Failures) -> None:
    """Refuse a service that has too little at the entry's known target.

    Raises
    ------
    ArchiveError
        If there are fewer rows than the entry says, or the reply was not whole.
    """
    for error in incomplete.values():
        raise error
    known = spec.options["probe"]
    if n_rows < known["expect_rows"]:
        raise ArchiveError(
            f"{spec.endpoint}: {n_rows} rows at the known position {known['ra']} {known['dec']},"
            f" expected at least {known['expect_rows']}"
        )


def plan_along_sky(shard: pa.Table, n_targets: int) -> RequestPlan:
    """Divide a shard into requests of neighbouring targets, which spares a service's caches.

    Parameters
    ----------
    shard : pyarrow.Table
        Targets in the ``SHARD`` schema.
    n_targets : int
        Most targets in a request.
    """
    order = np.argsort(shard["_healpix_29"].to_numpy(), kind="stable")
    chunks = [
        np.sort(order[first : first + n_targets]) for first in range(0, len(order), n_targets)
    ]
    return RequestPlan([Request(chunk, None) for chunk in chunks], np.array([], np.int64))


def numbered(request: Request, answer: Answer) -> Answer:
    """Return an answer about a request's targets with their numbers in the shard."""
    numbers = pa.array(request.targets)
    return Answer(
        answer.rows.set_column(0, TARGET_ROWS.field(0), numbers.take(answer.rows["target"])),
        answer.sources.set_column(0, SOURCES.field(0), numbers.take(answer.sources["target"])),
        answer.reads,
        answer.method,
        {int(request.targets[target]): error for target, error in answer.incomplete.items()},
    )


def known_columns(
    spec: ArchiveSpec, expressions: Collection[str] = ()
) -> dict[str, ExpectedColumn]:
    """Return what an entry says of its columns, by their name in a reply.

    Parameters
    ----------
    spec : ArchiveSpec
        Units follow from the roles, and from its option ``units``, which has the last word.
    expressions : collection of str
        Names of computed columns, which have the unit that the service gives them.
    """
    native = spec.units["native"]
    native = "" if native in _UNNAMED_UNITS else native
    units = _UNITS | dict.fromkeys(("value", "error"), native)
    columns = {}
    for roles in (spec.columns, *(band.get("columns", {}) for band in spec.bands.values())):
        for role, name in roles.items():
            if role in units or role in _NUMBERS:
                unit = "" if name in expressions else units.get(role, "")
                columns[bare_name(name)] = ExpectedColumn(bare_name(name), True, unit)
    for name, unit in spec.options["units"].items():
        is_number = name in columns and columns[name].is_number
        columns[name] = ExpectedColumn(name, is_number, unit)
    return columns


def _pairs(row_object: IntArray, match_object: IntArray) -> tuple[IntArray, IntArray]:
    """Return the pairs of a row and a match that are of the same object, by their indices."""
    by_object = np.argsort(match_object, kind="stable")
    ordered = match_object[by_object]
    first = np.searchsorted(ordered, row_object, side="left")
    n_matches = np.searchsorted(ordered, row_object, side="right") - first
    row = np.repeat(np.arange(len(row_object)), n_matches)
    rank = np.arange(len(row)) - np.repeat(np.cumsum(n_matches) - n_matches, n_matches)
    return row, by_object[first[row] + rank]


ARCHIVE = TapLightcurve
