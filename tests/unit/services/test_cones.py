"""Targets grouped into cones, and matched with what is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightloom.catalogs.geometry import separation_arcsec
from lightloom.services.cones import group_into_cones, pairs_within

#: Clumps anywhere, also at the poles and at right ascension zero.
CENTRES = st.tuples(
    st.sampled_from([0.0, 0.0001, 123.4, 359.9999]),
    st.sampled_from([-90.0, -89.9999, -45.0, 0.0, 30.0, 90.0]),
)
TARGETS = st.lists(
    st.tuples(CENTRES, st.floats(0, 0.2), st.floats(0, 0.2)), min_size=1, max_size=40
)


def positions(drawn: list) -> tuple[np.ndarray, np.ndarray]:
    ra_deg = np.array([(ra + dra) % 360 for (ra, _), dra, _ in drawn])
    dec_deg = np.array([np.clip(dec + ddec, -90, 90) for (_, dec), _, ddec in drawn])
    return ra_deg, dec_deg


@given(TARGETS, st.floats(0, 0.5), st.integers(1, 10), st.floats(0.1, 60))
def test_every_target_is_whole_in_one_cone(
    drawn: list, largest_radius_deg: float, most_targets: int, radius_arcsec: float
) -> None:
    ra_deg, dec_deg = positions(drawn)
    cones = group_into_cones(
        ra_deg,
        dec_deg,
        radius_arcsec,
        largest_radius_deg=largest_radius_deg,
        most_targets=most_targets,
    )
    members = np.concatenate([cone.target for cone in cones])
    assert sorted(members) == list(range(len(ra_deg)))
    for cone in cones:
        assert len(cone.target) <= most_targets
        alone_deg = radius_arcsec / 3600
        assert cone.radius_deg <= max(largest_radius_deg, alone_deg * (1 + 2e-9)) * (1 + 1e-15)
        away_arcsec = separation_arcsec(
            cone.ra_deg, cone.dec_deg, ra_deg[cone.target], dec_deg[cone.target]
        )
        assert np.all(away_arcsec + radius_arcsec <= cone.radius_deg * 3600)


def test_neighbours_share_a_cone() -> None:
    rng = np.random.default_rng(1)
    ra_deg, dec_deg = 150 + rng.uniform(0, 0.1, 500), 2 + rng.uniform(0, 0.1, 500)
    cones = group_into_cones(ra_deg, dec_deg, 1.0, largest_radius_deg=0.5, most_targets=1000)
    assert len(cones) == 1
    apart = group_into_cones(ra_deg, dec_deg, 1.0, largest_radius_deg=0.0, most_targets=1000)
    assert len(apart) == 500


@given(TARGETS, TARGETS, st.floats(0.1, 1000))
def test_pairs_are_those_within_the_radius(first: list, second: list, radius: float) -> None:
    (ra_deg, dec_deg), (found_ra_deg, found_dec_deg) = positions(first), positions(second)
    target, found, match_arcsec = pairs_within(ra_deg, dec_deg, found_ra_deg, found_dec_deg, radius)
    pairs = dict(zip(zip(target.tolist(), found.tolist(), strict=True), match_arcsec, strict=True))
    for one in range(len(ra_deg)):
        for other in range(len(found_ra_deg)):
            away = separation_arcsec(
                ra_deg[one], dec_deg[one], found_ra_deg[other], found_dec_deg[other]
            )
            expected = pytest.approx(away, rel=1e-12) if away <= radius else None
            assert pairs.get((one, other)) == expected
    assert sorted(zip(target, match_arcsec, strict=True)) == list(
        zip(target, match_arcsec, strict=True)
    )
