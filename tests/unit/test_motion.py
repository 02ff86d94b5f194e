"""Targets moved by their proper motion."""

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, UnitSphericalRepresentation, get_body_barycentric
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.motion import positions_at
from lightloom.schema import SHARD


def test_moving_and_resting_targets() -> None:
    shard = pa.table(
        {
            "objectid": ["resting", "moving", "over the pole"],
            "ra_deg": [10.0, 359.9999, 0.0],
            "dec_deg": [20.0, 60.0, 89.9999],
            "pmra_masyr": [None, 10_000.0, 0.0],
            "pmdec_masyr": [None, -10_000.0, 100_000.0],
            "parallax_mas": [None, None, None],
            "ref_epoch_jyear": [2000.0, 2000.0, 2000.0],
            "_healpix_29": [0, 0, 0],
        },
        schema=SHARD,
    )
    ra_deg, dec_deg = positions_at(shard, 2010.0)
    assert (ra_deg[0], dec_deg[0]) == (10.0, 20.0)
    # 100 arcsec in each direction; ra grows by 1 / cos(dec) and passes through 0.
    assert dec_deg[1] == pytest.approx(60.0 - 100 / 3600, abs=1e-4)
    assert ra_deg[1] == pytest.approx(
        359.9999 + 100 / 3600 / np.cos(np.radians(60)) - 360, abs=1e-4
    )
    assert ra_deg[2] == pytest.approx(180.0, abs=1e-6)


def star(ra_deg: float, dec_deg: float, parallax_mas: float | None) -> pa.Table:
    columns = {"objectid": "star", "ra_deg": ra_deg, "dec_deg": dec_deg, "_healpix_29": 0}
    columns["parallax_mas"] = parallax_mas
    return pa.table([pa.array([columns.get(f.name)], f.type) for f in SHARD], schema=SHARD)


# astropy loads its tables with the first example.
@settings(deadline=None)
@given(
    ra_deg=st.floats(0.0, 360.0, exclude_max=True),
    dec_deg=st.floats(-90.0, 90.0),
    parallax_mas=st.floats(0.1, 1000.0),
    epoch_jyear=st.floats(1990.0, 2030.0),
)
def test_parallax_is_the_view_from_the_earth(
    ra_deg: float, dec_deg: float, parallax_mas: float, epoch_jyear: float
) -> None:
    shard = star(ra_deg, dec_deg, parallax_mas)
    found = SkyCoord(*positions_at(shard, epoch_jyear, annual_parallax=True), unit=u.deg)
    assert 0.0 <= found.ra.deg[0] < 360.0
    # The vector from the Earth to the star, both seen from the barycentre.
    there = SkyCoord(ra_deg * u.deg, dec_deg * u.deg, distance=1 / (parallax_mas * 1e-3) * u.pc)
    earth = get_body_barycentric("earth", Time(epoch_jyear, format="jyear", scale="tdb"))
    expected = SkyCoord(
        (there.cartesian - earth).represent_as(UnitSphericalRepresentation), frame="icrs"
    )
    assert found.separation(expected).mas.max() < 1e-3 * parallax_mas
    assert found.separation(there).mas.max() <= 1.02 * parallax_mas


@pytest.mark.parametrize(("parallax_mas", "asked"), [(None, True), (-2.0, True), (700.0, False)])
def test_parallax_moves_nothing(parallax_mas: float | None, asked: bool) -> None:
    found = positions_at(star(217.4, -62.7, parallax_mas), 2016.0, annual_parallax=asked)
    assert [value[0] for value in found] == [217.4, -62.7]
