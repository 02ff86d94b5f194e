"""Hubble Catalog of Variables, by the interface of the Hubble Source Catalog at MAST.

A cone gives the summaries of the variables in it, one for each filter; the magnitudes of a variable
are a table of their own, asked for by its id. The service takes one cone at a time, so targets
close together share one (https://catalogs.mast.stsci.edu/docs/hsc.html).
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from requests import Session

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.archives.measurements import constant_text, light_curve_rows
from lightloom.config_checks import payload_columns
from lightloom.errors import ArchiveError, TransientArchiveError, TruncatedAnswerError
from lightloom.motion import positions_at
from lightloom.schema import TARGET_ROWS
from lightloom.services.batches import batches
from lightloom.services.cones import Cone, group_into_cones, pairs_within
from lightloom.services.http import service_session
from lightloom.services.mast_catalogs import query_catalog

#: Columns of a summary that count what belongs to the variable.
_FILTERS, _POINTS = "NumFilters", "NumLC"

#: Roles of the columns that are no numbers with a fraction.
_TYPES = {"object_id": pa.int64(), "band": pa.string(), "exposure_id": pa.string()}


class Hcv(Archive):
    """All filters of the nearest variable to each target."""

    def probe(self) -> None:
        session = service_session(self.spec, self.state)
        place = self.spec.options["probe"]
        cone = Cone(np.array([0]), place["ra"], place["dec"], place["radius_deg"])
        summaries = self._summaries(session, cone)
        if not summaries.num_rows:
            raise ArchiveError(f"{self.spec.name}: found no variable at the known place {place}")
        for found in self._magnitudes(session, summaries.slice(0, 1)).values():
            if isinstance(found, ArchiveError):
                raise found

    def plan(self, shard: pa.Table) -> RequestPlan:
        cones = group_into_cones(
            *positions_at(shard, self.spec.epoch_jyear),
            self.spec.radius_arcsec,
            largest_radius_deg=self.spec.options["largest_cone_deg"],
            most_targets=self.spec.limits["targets_per_query"],
        )
        requests = [Request(cone.target, cone) for cone in cones]
        return RequestPlan(requests, np.array([], np.int64))

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        session = service_session(self.spec, self.state)
        summaries = self._summaries(session, request.what)
        sources = self._sources(summaries, shard, request.what)
        # The first of each target is its nearest.
        _, first = np.unique(sources["target"].to_numpy(), return_index=True)
        nearest = sources.take(pa.array(first))
        wanted = nearest["survey_object_id"].cast(pa.int64())
        magnitudes = self._magnitudes(
            session, summaries.filter(pc.is_in(summaries[self._id], wanted.combine_chunks()))
        )
        parts: list[pa.Table] = []
        incomplete: dict[int, ArchiveError] = {}
        for target, text, match_arcsec in zip(*nearest.to_pydict().values(), strict=True):
            found = magnitudes[int(text)]
            if isinstance(found, ArchiveError):
                incomplete[target] = found
                continue
            for name, value in (("target", target), ("match_arcsec", match_arcsec)):
                found = found.append_column(name, pa.repeat(pa.scalar(value), found.num_rows))
            parts.append(found)
        rows = self._rows(pa.concat_tables(parts), shard) if parts else TARGET_ROWS.empty_table()
        return Answer(rows, sources, session.reads, incomplete=incomplete)

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        # Of several variables near a target only the nearest has rows.
        return pa.table(
            {
                "target": rows["target"],
                "observation": constant_text("any", rows.num_rows),
                "survey_object_id": rows["survey_object_id"],
            }
        )

    @property
    def _id(self) -> str:
        """Name of the column with the id of a variable."""
        name: str = self.spec.columns["object_id"]
        return name

    def _url(self, table: str) -> str:
        return f"{self.spec.endpoint.rstrip('/')}/{table}"

    def _summaries(self, session: Session, cone: Cone) -> pa.Table:
        """Return the variables in a cone; ``points`` is the number of their magnitudes."""
        columns, options = self.spec.columns, self.spec.options
        position = [columns["ra"], columns["dec"]]
        schema = pa.schema(
            [(self._id, pa.int64()), *((name, pa.float64()) for name in position)]
            + [(name, pa.int64()) for name in (_FILTERS, _POINTS)]
        )
        found = query_catalog(
            session,
            self._url(options["summary_table"]),
            {"ra": cone.ra_deg, "dec": cone.dec_deg, "radius": cone.radius_deg},
            schema,
            page_rows=options["page_rows"],
        )
        # A variable has a summary in every filter, all at the same place.
        variables = (
            found.group_by([self._id, *position, _FILTERS], use_threads=False)
            .aggregate([(_POINTS, "sum"), (_POINTS, "count")])
            .rename_columns([self._id, *position, _FILTERS, "points", "filters"])
            .sort_by(self._id)
        )
        short = variables.filter(pc.less(variables["filters"], variables[_FILTERS]))
        if options["counted"] and short.num_rows:
            raise TruncatedAnswerError(
                f"variable {short[self._id][0]}: found summaries in {short['filters'][0]} filters,"
                f" expected {short[_FILTERS][0]}"
            )
        return variables

    def _sources(self, summaries: pa.Table, shard: pa.Table, cone: Cone) -> pa.Table:
        """Return the variables near each target, the nearest first."""
        columns = self.spec.columns
        ra_deg, dec_deg = positions_at(shard, self.spec.epoch_jyear)
        target, found, match_arcsec = pairs_within(
            ra_deg[cone.target],
            dec_deg[cone.target],
            summaries[columns["ra"]].to_numpy(),
            summaries[columns["dec"]].to_numpy(),
            self.spec.radius_arcsec,
        )
        ids = summaries[self._id].cast(pa.string()).take(pa.array(found))
        return pa.table([cone.target[target], ids, match_arcsec], schema=SOURCES)

    def _magnitudes(
        self, session: Session, variables: pa.Table
    ) -> dict[int, pa.Table | ArchiveError]:
        """Return the magnitudes of variables, or why there are none, by id."""
        columns, options = self.spec.columns, self.spec.options
        types = {columns[role]: type_ for role, type_ in _TYPES.items() if role in columns}
        names = payload_columns(columns, self.spec.bands)
        schema = pa.schema([(name, types.get(name, pa.float64())) for name in names])
        points = dict(
            zip(variables[self._id].to_pylist(), variables["points"].to_pylist(), strict=True)
        )
        found: dict[int, pa.Table | ArchiveError] = {}
        for asked in batches(list(points), options["ids_per_request"]):
            try:
                rows = query_catalog(
                    session,
                    self._url(options["detail_table"]),
                    {self._id: ",".join(map(str, asked))},
                    schema,
                    page_rows=options["page_rows"],
                )
            except TransientArchiveError:
                raise
            except ArchiveError as error:
                found |= dict.fromkeys(asked, error)
                continue
            for one in asked:
                of_one = rows.filter(pc.equal(rows[self._id], one))
                expected = points[one] if options["counted"] else 1
                found[one] = of_one if of_one.num_rows >= expected else _cut(one, of_one, expected)
        return found

    def _rows(self, found: pa.Table, shard: pa.Table) -> pa.Table:
        """Return the light curves; a filter has the archive's own name if the entry names none."""
        band = found[self.spec.columns["band"]]
        bands = {name: {"name": name} for name in pc.unique(band).to_pylist()}
        spec = replace(self.spec, bands=bands | self.spec.bands)
        return light_curve_rows(found, shard, spec).cast(TARGET_ROWS)


def _cut(match_id: int, rows: pa.Table, expected: int) -> TruncatedAnswerError:
    return TruncatedAnswerError(
        f"variable {match_id}: found {rows.num_rows} magnitudes, expected {expected} by its summary"
    )


ARCHIVE = Hcv
