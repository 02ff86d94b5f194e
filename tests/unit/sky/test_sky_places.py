"""The awkward places are awkward in the way that they claim."""

import numpy as np
import pytest
from cdshealpix import neighbours

from lightloom.sky.geometry import coordinates, healpix_cells
from lightloom.sky.places import (
    RADIUS_ARCSEC,
    SERVICE_RADIUS_ARCSEC,
    Place,
    awkward_places,
    sample_places,
)
from lightloom.sky.service_places import service_places
from lightloom.sky.targets import Target
from lightloom.sky.ztf import stored_position

PLACES = {
    target.objectid.removeprefix("awkward-"): place
    for place in awkward_places(7)
    for target in place.targets
}


def target_of(name: str) -> Target:
    (target,) = [t for t in PLACES[name].targets if t.objectid == f"awkward-{name}"]
    return target


def stored_source(place: Place) -> tuple[float, float]:
    return stored_position(place.sources[0].ra_deg, place.sources[0].dec_deg)


@pytest.mark.parametrize("name", [n for n in PLACES if n.startswith(("base-", "edge-", "corner-"))])
def test_target_and_source_lie_in_different_cells(name: str) -> None:
    target, place = target_of(name), PLACES[name]
    order = int(name.split("order")[1][0]) if "order" in name else 0
    for ra_deg, dec_deg in (
        stored_source(place),
        (place.sources[0].ra_deg, place.sources[0].dec_deg),
    ):
        assert healpix_cells(target.ra_deg, target.dec_deg, order) != healpix_cells(
            ra_deg, dec_deg, order
        )
        separation = coordinates(target.ra_deg, target.dec_deg).separation(
            coordinates(ra_deg, dec_deg)
        )
        assert 0.8 < separation.arcsec < 1.4


@pytest.mark.parametrize("name", [n for n in PLACES if n.startswith("base-corner-north")])
def test_base_corners_have_seven_neighbours(name: str) -> None:
    target = target_of(name)
    cell = healpix_cells(target.ra_deg, target.dec_deg, 5)
    assert np.count_nonzero(neighbours(cell.astype(np.uint64), 5) == -1) == 1


def test_the_pole_lies_between_source_and_target() -> None:
    for name in ("pole-north", "pole-south"):
        source = PLACES[name].sources[0]
        assert abs(source.ra_deg - target_of(name).ra_deg) == 180.0


@pytest.mark.parametrize(("name", "sign"), [("inside", -1), ("outside", 1)])
def test_neighbours_stand_a_hundredth_of_an_arcsecond_from_the_radius(name: str, sign: int) -> None:
    target = target_of(f"radius-{name}")
    position = coordinates(target.ra_deg, target.dec_deg)
    sources = PLACES[f"radius-{name}"].sources
    assert len(sources) == len(RADIUS_ARCSEC)
    for source in sources:
        seen_by = [archive for archive in RADIUS_ARCSEC if getattr(source, f"in_{archive}")]
        (archive,) = seen_by
        place = (source.ra_deg, source.dec_deg)
        stored_deg = stored_position(*place) if archive == "ztf" else place
        distance_arcsec = position.separation(coordinates(*stored_deg)).arcsec
        assert distance_arcsec == pytest.approx(RADIUS_ARCSEC[archive] + 0.01 * sign, abs=1e-4)


def test_ids_are_unique_and_no_two_targets_merge() -> None:
    places = [*awkward_places(7), *service_places()]
    targets = [target for place in places for target in place.targets]
    assert len({target.objectid for target in targets}) == len(targets)
    position = coordinates([t.ra_deg for t in targets], [t.dec_deg for t in targets])
    _, separation, _ = position.match_to_catalog_sky(position, nthneighbor=2)
    assert separation.arcsec.min() > 1.1


def test_merged_targets_share_a_source_that_all_of_them_find() -> None:
    members = [Target("b", 359.99995, 3.0, ""), Target("a", 0.0001, 3.0, "")]
    (place,) = sample_places(members, 7)
    assert len(place.targets) == 1
    (source,) = place.sources
    for member in members:
        separation = coordinates(member.ra_deg, member.dec_deg).separation(
            coordinates(source.ra_deg, source.dec_deg)
        )
        assert separation.arcsec < 0.5


def test_catalogues_see_nothing_at_the_places_of_services() -> None:
    for place in service_places():
        assert not place.has_field_stars
        for source in place.sources:
            assert not any(getattr(source, f"in_{archive}") for archive in RADIUS_ARCSEC)
            assert any(getattr(source, f"in_{archive}") for archive in SERVICE_RADIUS_ARCSEC)
