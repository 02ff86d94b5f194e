"""TESS, Kepler and K2: light curves in files that MAST's portal finds by position or by name.

The portal is searched for many targets at once, before the work is divided: a piece of work is some
files of one target, which can have many. A target whose files cannot all be read keeps the rows of
the others, and is asked for again.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.archives.measurements import constant_text, light_curve_rows
from lightloom.config import ArchiveSpec
from lightloom.errors import ArchiveError, ArchiveSchemaError, TransientArchiveError
from lightloom.reads import Reads
from lightloom.schema import QUALITY_BAD, TARGET_ROWS
from lightloom.services.binning import bin_rows
from lightloom.services.cones import Cone
from lightloom.services.fits_lightcurve import read_lightcurve_fits
from lightloom.services.http import service_session
from lightloom.services.mast_search import MastSearch, Match, Search
from lightloom.services.products import Downloads, Product

#: Files of a target share a request up to this size; their rows take four times as much memory.
_REQUEST_BYTES = 8 << 20

_log = logging.getLogger(__name__)


class MastLightcurve(Archive):
    """Light curves of a mission whose files MAST has."""

    def __init__(self, spec: ArchiveSpec, state: Path) -> None:
        super().__init__(spec, state)
        self._search = MastSearch(spec)

    def probe(self) -> None:
        place = self.spec.options["probe"]
        session = service_session(self.spec, self.state)
        cone = Cone(np.array([0]), place["ra"], place["dec"], self.spec.radius_arcsec / 3600)
        products = self._search.products_in(session, cone)
        if not products:
            raise ArchiveError(f"{self.spec.name}: found no light curve at the known place {place}")
        first, expected = products[0], self.spec.units["native"]
        found = self._read(first, Downloads(session, self.spec))
        unit = found.schema.metadata[b"unit"].decode()
        if unit not in (expected, self.spec.options["choice"][first.choice]["unit"]):
            raise ArchiveSchemaError(
                f"{first.uri}: the fluxes are in {unit!r}, expected {expected!r}"
            )

    def plan(self, shard: pa.Table) -> RequestPlan:
        searches = self._search.divided(shard, np.arange(shard.num_rows))
        with ThreadPoolExecutor(self.spec.limits["concurrent_requests"]) as pool:
            found = list(pool.map(lambda search: self._matches_or_none(shard, search), searches))
        requests: list[Request] = []
        for search, (matches, _) in zip(searches, found, strict=True):
            if matches is None:
                # A worker searches again, so that the failure is that of these targets alone.
                requests.append(Request(search.target, None))
            else:
                for match in matches:
                    requests += _requests(match)
        reads = sum((of_search for _, of_search in found), Reads())
        return RequestPlan(requests, np.array([], np.int64), reads)

    def _matches_or_none(self, shard: pa.Table, search: Search) -> tuple[list[Match] | None, Reads]:
        """Return what a search has found, if it did not fail, and what was read for it."""
        session = service_session(self.spec, self.state)
        try:
            matches = self._search.matches(session, shard, search)
        except ArchiveError as error:
            _log.warning("%d targets will be searched again: %s", len(search.target), error)
            return None, session.reads
        return matches, session.reads

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        session = service_session(self.spec, self.state)
        matches: Sequence[Match] = (
            [request.what]
            if request.what
            else [
                match
                for search in self._search.divided(shard, request.targets)
                for match in self._search.matches(session, shard, search)
            ]
        )
        downloads = Downloads(session, self.spec)
        parts = [TARGET_ROWS.empty_table()]
        incomplete: dict[int, ArchiveError] = {}
        for match in sorted(matches, key=lambda match: (match.target, match.object_id)):
            for product in match.products:
                try:
                    parts.append(self._rows(shard, match, product, downloads))
                except TransientArchiveError:
                    # All of it is tried again.
                    raise
                except ArchiveError as error:
                    incomplete.setdefault(match.target, error)
        names = ("target", "object_id", "match_arcsec")
        sources = [[getattr(match, name) for match in matches] for name in names]
        return Answer(
            pa.concat_tables(parts),
            pa.table(sources, schema=SOURCES),
            downloads.reads + session.reads,
            incomplete=incomplete,
            places=tuple(sorted(downloads.places)),
        )

    def _rows(
        self, shard: pa.Table, match: Match, product: Product, downloads: Downloads
    ) -> pa.Table:
        """Return the light curves in a file, averaged in bins if that is wanted."""
        found = self._read(product, downloads)
        constants = {
            "target": match.target,
            "match_arcsec": match.match_arcsec,
            "object_id": match.object_id,
            "author": product.author,
            "field": product.field,
        }
        for name, value in constants.items():
            found = found.append_column(name, pa.repeat(pa.scalar(value), found.num_rows))
        unit = found.schema.metadata[b"unit"].decode()
        published = self.spec.options["choice"][product.choice]["columns"]
        bin_s = self.spec.options["bin_s"]
        parts = [TARGET_ROWS.empty_table()]
        for code, band in self.spec.bands.items():
            # A file need not have all the bands.
            if band["columns"]["value"] in published:
                rows = light_curve_rows(found, shard, self._spec_of(code, unit))
                rows = _without_time_bad(rows)
                parts.append(rows if bin_s is None else bin_rows(rows, bin_s))
        return pa.concat_tables(parts)

    def _spec_of(self, code: str, unit: str) -> ArchiveSpec:
        """Return the entry for one band of a file; a zero point is that of the entry's own unit."""
        band = self.spec.bands[code]
        if unit == self.spec.units["native"]:
            return replace(self.spec, bands={code: band})
        band = {key: value for key, value in band.items() if key != "ab_zero_point_mag"}
        units = {"native": unit, "mag_system": "none"}
        return replace(self.spec, bands={code: band}, units=units)

    def _read(self, product: Product, downloads: Downloads) -> pa.Table:
        choice = self.spec.options["choice"][product.choice]

        def read(content: bytes) -> pa.Table:
            return read_lightcurve_fits(
                content, columns=choice["columns"], unit=choice["unit"], name=product.uri
            )

        return downloads.read(product, read)

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        return pa.table(
            {
                "target": rows["target"],
                "observation": constant_text("any", rows.num_rows),
                "survey_object_id": rows["survey_object_id"],
            }
        )


def _without_time_bad(rows: pa.Table) -> pa.Table:
    """Call measurements bad of which no time is known; files are padded with them."""
    bad = pa.scalar(QUALITY_BAD, pa.int8())
    quality = pc.if_else(rows["time_mjd"].is_valid(), rows["quality"], bad)
    index = rows.schema.get_field_index("quality")
    return rows.set_column(index, "quality", quality).cast(TARGET_ROWS)


def _requests(match: Match) -> Iterator[Request]:
    """Divide the files of an object into requests of bounded size."""
    targets = np.array([match.target])
    products: list[Product] = []
    n_bytes = 0
    for product in match.products:
        if products and n_bytes + product.size_bytes > _REQUEST_BYTES:
            yield Request(targets, replace(match, products=tuple(products)))
            products, n_bytes = [], 0
        products.append(product)
        n_bytes += product.size_bytes
    # One without files is a source all the same.
    yield Request(targets, replace(match, products=tuple(products)))


ARCHIVE = MastLightcurve
