"""TESS, Kepler and K2: light curves in files that MAST's portal finds by position or by name.

The search runs for many targets at once and before the work is divided, so that the work is divided
by the files, of which a target can have many. A target whose files cannot all be read keeps the
rows of the others, and is asked for again.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from requests import Session

from lightloom.archives.base import SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.archives.measurements import constant_text, light_curve_rows
from lightloom.catalogs.geometry import separation_arcsec
from lightloom.errors import ArchiveError, ArchiveSchemaError, TransientArchiveError
from lightloom.motion import positions_at
from lightloom.schema import QUALITY_BAD, TARGET_ROWS
from lightloom.services.batches import batches
from lightloom.services.binning import bin_rows
from lightloom.services.cones import Cone, group_into_cones, pairs_within
from lightloom.services.fits_lightcurve import read_lightcurve_fits
from lightloom.services.http import service_session
from lightloom.services.mast import MastPortal, Row
from lightloom.services.products import Downloads, Product, choose_products, object_id_of

#: Files share a request while they are smaller than this together: rows take ten times as much.
_REQUEST_BYTES = 8 << 20

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """Targets that one search of the portal is about: those in a cone, or those with names.

    Attributes
    ----------
    target : ndarray of int64
    where : Cone or list of int
        A cone, or the archive's numbers of the targets.
    """

    target: IntArray
    where: Cone | list[int]


@dataclass(frozen=True)
class Match:
    """An object of the archive that is a target's, and its files."""

    target: int
    object_id: str
    match_arcsec: float
    products: tuple[Product, ...]


class MastLightcurve(Archive):
    """Light curves of a mission whose files MAST has."""

    def probe(self) -> None:
        place = self.spec.options["probe"]
        session = service_session(self.spec, self.state)
        cone = Cone(np.array([0]), place["ra"], place["dec"], self.spec.radius_arcsec / 3600)
        observations = self._of_authors(self._portal(session).observations_in(cone, self._criteria))
        by_id = {str(row["obsid"]): row for row in observations}
        products = [one for of in self._products(session, by_id).values() for one in of]
        if not products:
            raise ArchiveError(f"{self.spec.name}: found no light curve at the known place {place}")
        found = self._read(Downloads(session, self.spec), products[0])
        unit, expected = found.schema.metadata[b"unit"].decode(), self.spec.units["native"]
        if unit not in (expected, self.spec.options["choice"][products[0].choice]["unit"]):
            raise ArchiveSchemaError(
                f"{products[0].uri}: the fluxes are in {unit!r}, expected {expected!r}"
            )

    def plan(self, shard: pa.Table) -> RequestPlan:
        searches = self._searches(shard, np.arange(shard.num_rows))
        with ThreadPoolExecutor(self.spec.limits["concurrent_requests"]) as pool:
            found = list(pool.map(lambda one: self._matches_or_none(shard, one), searches))
        requests = []
        for search, matches in zip(searches, found, strict=True):
            if matches is None:
                # Searched again by a worker, so that the failure is that of these targets alone.
                requests.append(Request(search.target, None))
            else:
                requests += _requests(matches)
        return RequestPlan(requests, np.array([], np.int64))

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        matches: Sequence[Match] | None = request.what
        session = service_session(self.spec, self.state)
        if matches is None:
            searches = self._searches(shard, request.targets)
            matches = [match for one in searches for match in self._matches(session, shard, one)]
        downloads = Downloads(session, self.spec)
        parts = [TARGET_ROWS.empty_table()]
        incomplete: dict[int, ArchiveError] = {}
        for match in sorted(matches, key=lambda match: (match.target, match.object_id)):
            for product in match.products:
                try:
                    parts.append(self._rows(shard, match, product, downloads))
                except TransientArchiveError:
                    raise
                except ArchiveError as error:
                    incomplete.setdefault(match.target, error)
        sources = pa.table(
            [
                [match.target for match in matches],
                [match.object_id for match in matches],
                [match.match_arcsec for match in matches],
            ],
            schema=SOURCES,
        )
        return Answer(
            pa.concat_tables(parts), sources, downloads.reads + session.reads, incomplete=incomplete
        )

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        return pa.table(
            {
                "target": rows["target"],
                "observation": constant_text("any", rows.num_rows),
                "survey_object_id": rows["survey_object_id"],
            }
        )

    def _searches(self, shard: pa.Table, targets: IntArray) -> list[Search]:
        """Group targets: those whose names hold the archive's number, and those in a cone."""
        options, n_together = self.spec.options, self.spec.limits["targets_per_query"]
        numbers: dict[int, int] = {}
        if options["id_pattern"]:
            for target in targets.tolist():
                found = re.search(options["id_pattern"], shard["objectid"][target].as_py())
                if found:
                    numbers[target] = int(found[1])
        searches = [
            Search(np.array(batch), [numbers[target] for target in batch])
            for batch in batches(sorted(numbers), n_together)
        ]
        placed = np.array([target for target in targets.tolist() if target not in numbers], int)
        if len(placed):
            ra_deg, dec_deg = positions_at(shard, self.spec.epoch_jyear)
            cones = group_into_cones(
                ra_deg[placed],
                dec_deg[placed],
                self.spec.radius_arcsec,
                largest_radius_deg=options["largest_cone_deg"],
                most_targets=n_together,
            )
            searches += [Search(placed[cone.target], cone) for cone in cones]
        return searches

    @property
    def _criteria(self) -> dict[str, list[str]]:
        """Values of the portal's columns that the mission's light curves have."""
        options = self.spec.options
        return {"project": [options["project"]], "dataproduct_type": options["product_types"]}

    def _portal(self, session: Session) -> MastPortal:
        limits = self.spec.limits
        return MastPortal(
            session,
            self.spec.endpoint,
            page_rows=self.spec.options["page_rows"],
            poll_s=limits["poll_s"],
            timeout_s=limits["timeout_s"],
        )

    def _matches_or_none(self, shard: pa.Table, search: Search) -> list[Match] | None:
        try:
            return self._matches(service_session(self.spec, self.state), shard, search)
        except ArchiveError as error:
            _log.warning("%d targets will be searched again: %s", len(search.target), error)
            return None

    def _matches(self, session: Session, shard: pa.Table, search: Search) -> list[Match]:
        """Return the objects of targets with the files to take of them."""
        options = self.spec.options
        portal = self._portal(session)
        if isinstance(search.where, Cone):
            observations = portal.observations_in(search.where, self._criteria)
        else:
            names = [form.format(n) for n in search.where for form in options["target_names"]]
            observations = portal.observations_of(names, self._criteria)
        observations = self._of_authors(observations)
        nearest: dict[tuple[int, str], float] = {}
        of_targets: dict[str, Row] = {}
        for target, observation, match_arcsec in self._pairs(shard, search, observations):
            of_targets[str(observation["obsid"])] = observation
            key = (target, object_id_of(observation, options))
            nearest[key] = min(nearest.get(key, np.inf), match_arcsec)
        products = self._products(session, of_targets)
        return [
            Match(target, object_id, match_arcsec, tuple(products.get(object_id, ())))
            for (target, object_id), match_arcsec in sorted(nearest.items())
        ]

    def _of_authors(self, observations: Sequence[Row]) -> list[Row]:
        """Return the observations of which something may be taken, in a fixed order."""
        authors = {choice["author"] for choice in self.spec.options["choice"]}
        others = Counter(
            str(row["provenance_name"])
            for row in observations
            if row["provenance_name"] not in authors
        )
        if others:
            _log.info("observations of authors not chosen from: %s", sorted(others.items()))
        own = [row for row in observations if row["provenance_name"] in authors]
        return sorted(own, key=lambda row: str(row["obsid"]))

    def _pairs(
        self, shard: pa.Table, search: Search, observations: Sequence[Row]
    ) -> Iterator[tuple[int, Row, float]]:
        """Yield the observations of each target, with their distance [arcsec]."""
        ra_deg, dec_deg = (
            position[search.target] for position in positions_at(shard, self.spec.epoch_jyear)
        )
        found_ra_deg, found_dec_deg = (
            np.array([row[name] for row in observations], np.float64) for name in ("s_ra", "s_dec")
        )
        if isinstance(search.where, Cone):
            target, found, match_arcsec = pairs_within(
                ra_deg, dec_deg, found_ra_deg, found_dec_deg, self.spec.radius_arcsec
            )
        else:
            options = self.spec.options
            object_ids = np.array([object_id_of(row, options) for row in observations], object)
            named = [options["object_id"]["name"].format(number) for number in search.where]
            target, found = np.nonzero(np.array(named, object)[:, np.newaxis] == object_ids)
            match_arcsec = separation_arcsec(
                ra_deg[target], dec_deg[target], found_ra_deg[found], found_dec_deg[found]
            )
        for one, of_one, distance in zip(target, found, match_arcsec, strict=True):
            yield int(search.target[one]), observations[of_one], float(distance)

    def _products(self, session: Session, observations: dict[str, Row]) -> dict[str, list[Product]]:
        """Return the files to take, by the object that they are of."""
        portal = self._portal(session)
        rows = [
            row
            for batch in batches(sorted(observations), self.spec.limits["objects_per_query"])
            for row in portal.products_of(batch)
        ]
        chosen, left_out = choose_products(observations.values(), rows, self.spec.options)
        _log.info("%d files; left out for better ones: %s", len(chosen), sorted(left_out.items()))
        by_object: dict[str, list[Product]] = defaultdict(list)
        for product in chosen:
            by_object[product.object_id].append(product)
        return by_object

    def _read(self, downloads: Downloads, product: Product) -> pa.Table:
        choice = self.spec.options["choice"][product.choice]

        def read(content: bytes) -> pa.Table:
            return read_lightcurve_fits(
                content, columns=choice["columns"], unit=choice["unit"], name=product.uri
            )

        return downloads.read(product.uri, read)

    def _rows(
        self, shard: pa.Table, match: Match, product: Product, downloads: Downloads
    ) -> pa.Table:
        """Return the light curve in a file."""
        choice = self.spec.options["choice"][product.choice]
        found = self._read(downloads, product)
        unit = found.schema.metadata[b"unit"].decode()
        bin_s = self.spec.options["bin_s"]
        constants = {
            "target": match.target,
            "match_arcsec": match.match_arcsec,
            "object_id": match.object_id,
            "author": product.author,
            "field": product.field,
        }
        for name, value in constants.items():
            found = found.append_column(name, pa.repeat(pa.scalar(value), found.num_rows))
        parts = [TARGET_ROWS.empty_table()]
        for code, band in self.spec.bands.items():
            # A file need not have all the bands, and says itself what unit they have.
            if band["columns"]["value"] in choice["columns"]:
                units = {"native": unit, "mag_system": "none"}
                spec = replace(self.spec, bands={code: band}, units=units)
                rows = _without_instant_bad(light_curve_rows(found, shard, spec))
                parts.append(rows if bin_s is None else bin_rows(rows, bin_s))
        return pa.concat_tables(parts)


def _without_instant_bad(rows: pa.Table) -> pa.Table:
    """Call a measurement bad that no time is known of: files hold padding of this kind."""
    quality = pc.if_else(
        rows["time_mjd"].is_valid(), rows["quality"], pa.scalar(QUALITY_BAD, pa.int8())
    )
    index = rows.schema.get_field_index("quality")
    return rows.set_column(index, "quality", quality).cast(TARGET_ROWS)


def _requests(matches: Iterable[Match]) -> Iterator[Request]:
    """Divide the files among requests of bounded size; a target may be in several of them."""
    bundle: list[Match] = []
    n_bytes = 0
    for match in matches:
        files: list[Product] = []
        for product in match.products:
            if n_bytes and n_bytes + product.size_bytes > _REQUEST_BYTES:
                yield _request([*bundle, replace(match, products=tuple(files))])
                bundle, files, n_bytes = [], [], 0
            files.append(product)
            n_bytes += product.size_bytes
        bundle.append(replace(match, products=tuple(files)))
    if bundle:
        yield _request(bundle)


def _request(matches: list[Match]) -> Request:
    return Request(np.unique([match.target for match in matches]), tuple(matches))


ARCHIVE = MastLightcurve
