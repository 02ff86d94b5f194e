"""Events of high-energy observatories (HEASARC, TAP): bursts, triggers, neutrinos.

An event is no measurement of the target: it has no flux density, only a circle in which its origin
probably lies, and every event whose circle contains the target is kept. Where a target has hundreds
of them, as with neutrinos, the table is fetched once and searched here.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock
from numpy.typing import NDArray

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.archives.measurements import as_text, constant_text, json_objects
from lightloom.archives.tap_lightcurve import (
    check_known_target,
    known_columns,
    numbered,
    plan_along_sky,
)
from lightloom.catalogs.geometry import separation_arcsec
from lightloom.conditions import any_holds
from lightloom.config import ArchiveSpec
from lightloom.errors import TruncatedAnswerError
from lightloom.motion import positions_at
from lightloom.plan import digest_json
from lightloom.schema import QUALITY_BAD, QUALITY_GOOD, QUALITY_SUSPECT, TARGET_ROWS
from lightloom.services.folders import archive_folder
from lightloom.services.tap import Question, Service, ask_whole
from lightloom.services.tap_adql import (
    PER_DEGREE,
    TARGET,
    event_columns,
    events_between,
    events_near_targets,
)
from lightloom.services.tap_events import targets_in_circles
from lightloom.services.tap_search import ask_about_targets, ask_counted, count_rows
from lightloom.services.tap_votable import ExpectedColumn
from lightloom.storage import atomic_path
from lightloom.times import to_mjd_tdb_barycentre

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Failures = dict[int, TruncatedAnswerError]

#: Strips of equal area into which the sky can be cut to fetch a table piece by piece.
_STRIPS = 65_536

#: Events that are compared with the targets at a time.
_BATCH_ROWS = 131_072


class Heasarc(Archive):
    """Events in whose error circles the targets lie."""

    def __init__(self, spec: ArchiveSpec, state: Path) -> None:
        super().__init__(spec, state)
        known = known_columns(spec)
        error_radius = spec.options["error_radius"]
        known[error_radius["column"]] = ExpectedColumn(
            error_radius["column"], is_number=True, unit=error_radius["unit"]
        )
        names = [column.name for column in event_columns(spec.columns, spec.options)]
        self._expected = [known.get(name, ExpectedColumn(name)) for name in names]

    def plan(self, shard: pa.Table) -> RequestPlan:
        return plan_along_sky(shard, self.spec.limits["targets_per_query"])

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        service = Service(self.spec, self.state)
        asked = shard.take(pa.array(request.targets))
        ra_deg, dec_deg = positions_at(asked, self.spec.epoch_jyear)
        incomplete: Failures = {}
        if self.spec.options["whole_table"]:
            found = self._found_here(service, ra_deg, dec_deg)
        else:
            found, incomplete = self._found_there(service, ra_deg, dec_deg)
        found = found.sort_by(TARGET)
        rows = event_rows(found, asked, self.spec)
        names = event_names(found, self.spec.columns)
        sources = pa.table([found[TARGET], names, found["match_arcsec"]], schema=SOURCES)
        answer = Answer(rows, sources, service.session.reads, incomplete=incomplete)
        return numbered(request, answer)

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        # Any number of events can have the same target in their circles.
        return (
            rows.select(["target", "band", "survey_object_id"])
            .slice(0, 0)
            .rename_columns(["target", "observation", "survey_object_id"])
        )

    def probe(self) -> None:
        service = Service(self.spec, self.state)
        service.check_limit()
        known = self.spec.options["probe"]
        ra_deg, dec_deg = np.array([known["ra"]]), np.array([known["dec"]])
        found, incomplete = self._found_there(service, ra_deg, dec_deg)
        check_known_target(self.spec, found.num_rows, incomplete)

    def _found_there(
        self, service: Service, ra_deg: FloatArray, dec_deg: FloatArray
    ) -> tuple[pa.Table, Failures]:
        """Let the service search; return events and targets without a whole reply."""
        options = self.spec.options
        replies = ask_about_targets(
            service,
            events_near_targets(self.spec.columns, options),
            [ExpectedColumn(TARGET, is_number=True), *self._expected],
            ra_deg,
            dec_deg,
            counted=options["counted"],
        )
        if not replies.tables:
            raise next(iter(replies.failures.values()))
        reply = pa.concat_tables(replies.tables)
        reply = reply.filter(reply[self.spec.columns["ra"]].is_valid())
        target = reply[TARGET].to_numpy()
        event_ra, event_dec, radius_arcsec = self._circles(reply)
        distance_arcsec = separation_arcsec(ra_deg[target], dec_deg[target], event_ra, event_dec)
        found = reply.append_column("match_arcsec", pa.array(distance_arcsec))
        return found.filter(pa.array(distance_arcsec <= radius_arcsec)), replies.failures

    def _found_here(self, service: Service, ra_deg: FloatArray, dec_deg: FloatArray) -> pa.Table:
        """Search the whole table, which is fetched unless another job has done so."""
        name = f"events-{digest_json(self.spec.settings())}.parquet"
        path = archive_folder(self.state, self.spec) / name
        with FileLock(path.with_suffix(".lock"), fallback_to_soft=False):
            if not path.exists():
                self._fetch_table(service, path)
        found = []
        for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS):
            events = pa.table(batch)
            event, target, distance_arcsec = targets_in_circles(
                *self._circles(events), ra_deg, dec_deg
            )
            found.append(
                events.take(pa.array(event))
                .append_column(TARGET, pa.array(target))
                .append_column("match_arcsec", pa.array(distance_arcsec))
            )
        return pa.concat_tables(found)

    def _circles(self, events: pa.Table) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return centres [deg] and radii [arcsec] of the circles in which events match."""
        options = self.spec.options
        error_radius = options["error_radius"]
        ra, dec, radius = (
            events[name].to_numpy()
            for name in (
                self.spec.columns["ra"],
                self.spec.columns["dec"],
                error_radius["column"],
            )
        )
        radius_deg = radius / PER_DEGREE[error_radius["unit"]] * options["error_radius_factor"]
        return ra, dec, (radius_deg + options["systematic_deg"]) * 3600

    def _fetch_table(self, service: Service, path: Path) -> None:
        """Fetch the table in strips of declination that no reply truncates."""
        columns, options = self.spec.columns, self.spec.options
        edges_deg = np.degrees(np.arcsin(np.linspace(-1.0, 1.0, _STRIPS + 1)))
        edges_deg[-1] = 91.0

        def ask(strips: IntArray) -> pa.Table:
            low_deg, high_deg = edges_deg[strips[0]], edges_deg[strips[-1] + 1]
            adql = events_between(columns, options, low_deg, high_deg)
            return ask_counted(service, Question(adql, self._expected, n_items=0))

        everything = events_between(columns, options, -90.0, edges_deg[-1])
        n_events = count_rows(service, Question(everything, self._expected, n_items=0))
        n_pieces = 1 + 2 * n_events // options["maxrec"]
        tables = []
        for strips in np.array_split(np.arange(_STRIPS), n_pieces):
            replies = ask_whole(ask, strips)
            for error in replies.failures.values():
                raise error
            tables += replies.tables
        table = pa.concat_tables(tables)
        if table.num_rows != n_events:
            raise TruncatedAnswerError(
                f"{service.endpoint}: {table.num_rows} events in strips of declination, the"
                f" service counts {n_events}"
            )
        ordered = table.sort_by([(name, "ascending") for name in table.column_names])
        with atomic_path(path) as temporary:
            pq.write_table(ordered, temporary, compression="zstd", row_group_size=_BATCH_ROWS)


def event_rows(found: pa.Table, shard: pa.Table, spec: ArchiveSpec) -> pa.Table:
    """Turn events into rows of their targets' light curves.

    Parameters
    ----------
    found : pyarrow.Table
        ``target`` (row of the shard, ascending), ``match_arcsec`` and the columns of the events.
    shard : pyarrow.Table
        Targets in the ``SHARD`` schema.
    spec : ArchiveSpec

    Returns
    -------
    pyarrow.Table
        The columns of ``TARGET_ROWS``.
    """
    n_rows, columns = found.num_rows, spec.columns
    target = found["target"].to_numpy()
    time_mjd = found[columns["time"]].to_numpy() + spec.time["offset_days"]
    extra = {
        name: found[name] for name in [spec.options["error_radius"]["column"], *columns["extra"]]
    }
    given = {
        "target": found["target"],
        "band": constant_text(spec.options["band"], n_rows),
        "time_mjd": pa.array(time_mjd, from_pandas=True),
        "time_scale": constant_text(spec.time["scale"], n_rows),
        "time_ref": constant_text(spec.time["ref"], n_rows),
        "time_mjd_tdb": pa.array(
            to_mjd_tdb_barycentre(
                time_mjd,
                shard["ra_deg"].to_numpy()[target],
                shard["dec_deg"].to_numpy()[target],
                time_scale=spec.time["scale"],
                time_ref=spec.time["ref"],
            ),
            from_pandas=True,
        ),
        "native_unit": constant_text(spec.units["native"], n_rows),
        "quality": _quality(found, spec),
        "kind": constant_text(spec.kind, n_rows),
        "match_arcsec": found["match_arcsec"],
        "native_columns": json_objects(extra),
    }
    if "object_id" in columns:
        given["survey_object_id"] = as_text(found[columns["object_id"]])
    if "value" in columns:
        given["native_value"] = found[columns["value"]].cast(pa.float64())
    return pa.table(
        {field.name: given.get(field.name, pa.nulls(n_rows, field.type)) for field in TARGET_ROWS}
    )


def event_names(found: pa.Table, columns: Mapping[str, str]) -> pa.ChunkedArray:
    """Return what tells events apart: their ids or, without any, their times and places."""
    roles = ["object_id"] if "object_id" in columns else ["time", "ra", "dec"]
    return pc.binary_join_element_wise(*(as_text(found[columns[role]]) for role in roles), "/")


def _quality(found: pa.Table, spec: ArchiveSpec) -> pa.Array:
    quality = np.full(found.num_rows, QUALITY_GOOD, np.int8)
    for name, level in (("suspect", QUALITY_SUSPECT), ("bad", QUALITY_BAD)):
        quality[any_holds(found, spec.quality.get(name, ()))] = level
    return pa.array(quality)


ARCHIVE = Heasarc
