"""Archives that are Parquet catalogues, as their entry in the catalogue of archives says."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightloom.archives.base import OFFSET_COUNTS, SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.archives.measurements import as_text, constant_text, light_curve_rows
from lightloom.catalogs.join import search_joined
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import Search, plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.config_checks import payload_columns
from lightloom.motion import positions_at
from lightloom.reads import Reads

#: What a worker needs for itself and its libraries, and for each row that it reads and makes a
#: light curve of [bytes]. Measured: 310 MB and, with lists of epochs, 290 bytes; three times that
#: for a row, since lists differ in length.
_WORKER_BYTES = 350_000_000
_ROW_BYTES = 900
#: A position for chance matches is at least so many search radii away, so that its circle does not
#: touch that of the target.
_OFFSET_RADII = 3
#: With no more positions Dask's time for a task counts: a ZTF-like partition on disk took 25 ms for
#: two positions and 110 for 21 (tests/benchmarks/reader.py).
_FEW_POSITIONS = 32
#: However little memory there is, a request may have so many rows.
_FEWEST_ROWS = 10_000


class RootSearch(NamedTuple):
    """A search of one partition, and the root of its catalogue among the entry's endpoints."""

    endpoint: str
    search: Search


class CatalogArchive(Archive):
    """Light curves from HATS or hive-partitioned catalogues, by the columns of their entry."""

    def _catalog(self, endpoint: str, layout: str, columns: Mapping[str, str]) -> CatalogSpec:
        """Return what the reader has to know of a catalogue."""
        return CatalogSpec(
            endpoint=endpoint,
            layout=layout,
            ra=columns["ra"],
            dec=columns["dec"],
            object_id=columns["object_id"],
            partition=columns.get("partition", ""),
            storage_options=self.spec.place.options,
            page_mb=self.spec.limits["page_mb"],
        )

    def _searched(self, endpoint: str) -> CatalogSpec:
        return self._catalog(endpoint, self.spec.layout, self.spec.columns)

    def plan(self, shard: pa.Table) -> RequestPlan:
        ra_deg, dec_deg = positions_at(
            shard, self.spec.epoch_jyear, annual_parallax=self.spec.annual_parallax
        )
        # One request for the same place in all subsets: they are many, and each has little.
        of_pixel: dict[tuple[int, int], list[RootSearch]] = {}
        outside = np.ones(shard.num_rows, bool)
        for endpoint in self.spec.endpoints:
            catalog = open_catalog(self._searched(endpoint))
            searches, outside_subset = plan_searches(
                catalog, ra_deg, dec_deg, self.spec.radius_arcsec
            )
            outside &= outside_subset
            for search in searches:
                pixel = (search.partition.order, search.partition.pixel)
                of_pixel.setdefault(pixel, []).append(RootSearch(endpoint, search))
        requests = [
            Request(np.unique(np.concatenate([one.search.target for one in searches])), searches)
            for searches in of_pixel.values()
        ]
        return RequestPlan(requests, np.flatnonzero(outside))

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        most_rows = self._most_rows() // len(request.what) if len(request.targets) > 1 else None
        found = [self._search(one.endpoint, one.search, most_rows) for one in request.what]
        matches = pa.concat_tables([one.matches for one in found])
        sources = pa.table(
            [matches["target"], as_text(matches["object_id"]), matches["match_arcsec"]],
            schema=SOURCES,
        )
        # Arrow's sort is stable, so that the rows of a target stay in the order of the files.
        rows = pa.concat_tables([one.table for one in found]).sort_by("target")
        return Answer(
            self.to_rows(rows, shard),
            sources,
            sum((one.reads for one in found), Reads()),
            ", ".join(sorted({one.plan for one in found})),
            places=(str(self.spec.place),),
            offsets=_counted([one.offsets for one in found]),
        )

    @property
    def _offset_arcsec(self) -> float:
        """How far beside the targets it is looked for matches by chance; 0: not at all."""
        offset_arcsec = self.spec.chance_offset_arcsec
        return offset_arcsec and max(offset_arcsec, _OFFSET_RADII * self.spec.radius_arcsec)

    def _most_rows(self) -> int:
        """Return how many rows there is memory for in each of the requests under way."""
        limits = self.spec.limits
        memory_bytes = limits["mem_mb"] * 1_000_000
        if self.spec.place.is_remote:
            n_at_once = max(limits["threads"], limits["partitions_in_flight"])
            room_bytes = (memory_bytes - _WORKER_BYTES) // n_at_once
        else:
            room_bytes = memory_bytes // limits["threads"] - _WORKER_BYTES
        return max(room_bytes // _ROW_BYTES, _FEWEST_ROWS)

    def is_quick(self, request: Request) -> bool:
        n_positions = sum(len(one.search.target) for one in request.what)
        return not self.spec.place.is_remote and n_positions <= _FEW_POSITIONS

    def split(self, request: Request, n_pieces: int) -> Sequence[Request]:
        pieces = np.array_split(request.targets, min(n_pieces, len(request.targets)))
        return [
            Request(
                targets,
                [
                    RootSearch(one.endpoint, part)
                    for one in request.what
                    if len((part := one.search.only(targets)).target)
                ],
            )
            for targets in pieces
        ]

    def _search(self, endpoint: str, search: Search, most_rows: int | None) -> SearchResult:
        """Search a partition for everything that the light curves are made of."""
        catalog, radius_arcsec = self._searched(endpoint), self.spec.radius_arcsec
        columns = payload_columns(self.spec.columns, self.spec.bands)
        detections = self.spec.detections
        if detections is None:
            return search_partition(
                catalog, search, radius_arcsec, columns, most_rows, self._offset_arcsec
            )
        return search_joined(
            catalog,
            self._catalog(self.spec.place.detections, detections["layout"], detections["columns"]),
            search,
            radius_arcsec,
            join_radius_arcsec=detections["radius_arcsec"],
            object_columns=[catalog.object_id],
            columns=[name for name in columns if name != catalog.object_id],
            most_rows=most_rows,
            offset_arcsec=self._offset_arcsec,
        )

    def to_rows(self, found: pa.Table, shard: pa.Table) -> pa.Table:
        """Turn matched catalogue rows into light-curve rows; see `light_curve_rows`."""
        return light_curve_rows(found, shard, self.spec)

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        if self.spec.unique_objects:
            observation = constant_text("any", rows.num_rows)
        else:
            place = pc.coalesce(rows["survey_field"], as_text(rows["time_mjd"]))
            observation = pc.binary_join_element_wise(rows["band"], place, "/")
        competing = pa.table(
            {
                "target": rows["target"],
                "observation": observation,
                "survey_object_id": rows["survey_object_id"],
            }
        )
        # A measurement without field and time cannot be told to be of the same observation.
        return competing.filter(competing["observation"].is_valid())


def _counted(offsets: Sequence[pa.Table]) -> pa.Table:
    """Count the positions beside each target; a source in any of the subsets is a match."""
    positions = (
        pa.concat_tables(offsets)
        .group_by(["target", "direction"], use_threads=False)
        .aggregate([("matched", "any")])
    )
    counts = positions.append_column("n", positions["matched_any"].cast(pa.int64())).group_by(
        "target", use_threads=False
    )
    counted = counts.aggregate([("n", "count"), ("n", "sum")])
    return counted.rename_columns(OFFSET_COUNTS.names).cast(OFFSET_COUNTS)
