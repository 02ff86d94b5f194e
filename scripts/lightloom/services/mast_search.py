"""Which light-curve files MAST has of which targets."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.catalogs.geometry import separation_arcsec
from lightloom.config import ArchiveSpec
from lightloom.motion import positions_at
from lightloom.services.batches import batches
from lightloom.services.cones import Cone, group_into_cones, pairs_within
from lightloom.services.http import ServiceSession
from lightloom.services.mast import MastPortal, Row
from lightloom.services.products import Product, choose_products, object_id_of

IntArray = NDArray[np.int64]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """Targets that one search of the portal is about: those in a cone, or those with numbers.

    Attributes
    ----------
    target : ndarray of int64
        Rows of the shard.
    where : Cone or list of int
        A cone, or the mission's numbers of the targets.
    """

    target: IntArray
    where: Cone | list[int]


@dataclass(frozen=True)
class Match:
    """An object of the mission that is a target's, and files with its light curves.

    Attributes
    ----------
    target : int
        Row of the shard.
    object_id : str
    match_arcsec : float
    products : tuple of Product
    """

    target: int
    object_id: str
    match_arcsec: float
    products: tuple[Product, ...]


class MastSearch:
    """Searches of the portal for the light curves of a mission.

    Parameters
    ----------
    spec : ArchiveSpec
        The mission's entry.
    """

    def __init__(self, spec: ArchiveSpec) -> None:
        self._spec = spec
        self._options = spec.options
        self._authors = {choice["author"] for choice in spec.options["choice"]}

    def divided(self, shard: pa.Table, targets: IntArray) -> list[Search]:
        """Divide targets into searches: those named by their number, and those in a cone.

        Parameters
        ----------
        shard : pyarrow.Table
            Targets in the ``SHARD`` schema.
        targets : ndarray of int64
            Which of them.
        """
        n_together = self._spec.limits["targets_per_query"]
        numbers = self._numbers(shard, targets)
        searches = [
            Search(np.array(batch), [numbers[target] for target in batch])
            for batch in batches(sorted(numbers), n_together)
        ]
        placed = np.setdiff1d(targets, list(numbers))
        if len(placed):
            ra_deg, dec_deg = positions_at(shard, self._spec.epoch_jyear)
            cones = group_into_cones(
                ra_deg[placed],
                dec_deg[placed],
                self._spec.radius_arcsec,
                largest_radius_deg=self._options["largest_cone_deg"],
                most_targets=n_together,
            )
            searches += [Search(placed[cone.target], cone) for cone in cones]
        return searches

    def matches(self, session: ServiceSession, shard: pa.Table, search: Search) -> list[Match]:
        """Return the objects of targets, with the files to take of them.

        Raises
        ------
        ArchiveError
            If the portal could not be asked, or its answer is not as the entry says.
        """
        observations = self._observations(session, search.where)
        nearest: dict[tuple[int, str], float] = {}
        of_targets: dict[str, Row] = {}
        for target, observation, match_arcsec in self._pairs(shard, search, observations):
            of_targets[str(observation["obsid"])] = observation
            key = (target, object_id_of(observation, self._options))
            nearest[key] = min(nearest.get(key, np.inf), match_arcsec)
        of_object: dict[str, list[Product]] = defaultdict(list)
        for product in self._products(session, of_targets):
            of_object[product.object_id].append(product)
        return [
            Match(target, object_id, match_arcsec, tuple(of_object[object_id]))
            for (target, object_id), match_arcsec in sorted(nearest.items())
        ]

    def products_in(self, session: ServiceSession, cone: Cone) -> list[Product]:
        """Return the files to take of everything in a cone."""
        observations = self._observations(session, cone)
        return self._products(session, {str(row["obsid"]): row for row in observations})

    def _numbers(self, shard: pa.Table, targets: IntArray) -> dict[int, int]:
        """Return the mission's numbers of the targets that are named by them."""
        numbers: dict[int, int] = {}
        pattern = self._options["id_pattern"]
        if pattern:
            for target in targets.tolist():
                if found := re.search(pattern, shard["objectid"][target].as_py()):
                    numbers[target] = int(found[1])
        return numbers

    def _portal(self, session: ServiceSession) -> MastPortal:
        limits = self._spec.limits
        return MastPortal(
            session,
            self._spec.endpoint,
            page_rows=self._options["page_rows"],
            poll_s=limits["poll_s"],
            timeout_s=limits["timeout_s"],
        )

    def _observations(self, session: ServiceSession, where: Cone | list[int]) -> list[Row]:
        """Return the observations of which something may be taken, in a fixed order."""
        options, portal = self._options, self._portal(session)
        criteria = {
            "project": [options["project"]],
            "dataproduct_type": options["product_types"],
        }
        if isinstance(where, Cone):
            found = portal.observations_in(where, criteria)
        else:
            names = [form.format(number) for number in where for form in options["target_names"]]
            found = portal.observations_of(names, criteria)
        authors = Counter(str(row["provenance_name"]) for row in found)
        others = sorted((name, n) for name, n in authors.items() if name not in self._authors)
        if others:
            _log.info("observations of authors that are not chosen from: %s", others)
        own = [row for row in found if row["provenance_name"] in self._authors]
        return sorted(own, key=lambda row: str(row["obsid"]))

    def _pairs(
        self, shard: pa.Table, search: Search, observations: Sequence[Row]
    ) -> Iterator[tuple[int, Row, float]]:
        """Yield the observations of each target, with their distance [arcsec]."""
        ra_deg, dec_deg = (
            position[search.target] for position in positions_at(shard, self._spec.epoch_jyear)
        )
        found_ra_deg, found_dec_deg = (
            np.array([row[name] for row in observations], np.float64) for name in ("s_ra", "s_dec")
        )
        if isinstance(search.where, Cone):
            target, found, match_arcsec = pairs_within(
                ra_deg, dec_deg, found_ra_deg, found_dec_deg, self._spec.radius_arcsec
            )
        else:
            form = self._options["object_id"]["name"]
            named = np.array([form.format(number) for number in search.where], object)
            ids = np.array([object_id_of(row, self._options) for row in observations], object)
            target, found = np.nonzero(named[:, np.newaxis] == ids)
            match_arcsec = separation_arcsec(
                ra_deg[target], dec_deg[target], found_ra_deg[found], found_dec_deg[found]
            )
        for one, of_one, distance in zip(target, found, match_arcsec, strict=True):
            yield int(search.target[one]), observations[of_one], float(distance)

    def _products(self, session: ServiceSession, observations: Mapping[str, Row]) -> list[Product]:
        """Return the files to take of observations."""
        portal, n_together = self._portal(session), self._spec.limits["objects_per_query"]
        rows = [
            row
            for batch in batches(sorted(observations), n_together)
            for row in portal.products_of(batch)
        ]
        chosen, left_out = choose_products(observations.values(), rows, self._options)
        _log.info("%d files; left out for better ones: %s", len(chosen), sorted(left_out.items()))
        return chosen
