"""Targets are left out only if nothing within their search radius was observed."""

from pathlib import Path

import cdshealpix.nested
import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude, SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from mocpy import MOC

from lightloom.config import ArchiveSpec
from lightloom.footprint import within_footprint
from lightloom.schema import SHARD
from small_server import counter_spec

#: The cells of order 3 at a pole, at the edge of a base cell, and at right ascension 0.
CELLS = [63, 0, 277, 304, 767]


def spec_with(footprint: str, radius_arcsec: float = 1.5) -> ArchiveSpec:
    return counter_spec("http://localhost", footprint=footprint, radius_arcsec=radius_arcsec)


def targets_at(places: SkyCoord, **motion: float) -> pa.Table:
    n_targets = places.size
    columns = {
        "objectid": pa.array([str(number) for number in range(n_targets)]),
        "ra_deg": pa.array(np.atleast_1d(places.ra.deg)),
        "dec_deg": pa.array(np.atleast_1d(places.dec.deg)),
        "_healpix_29": pa.array(np.zeros(n_targets, np.int64)),
        **{name: pa.array(np.full(n_targets, value)) for name, value in motion.items()},
    }
    nothing = pa.nulls(n_targets, pa.float64())
    return pa.table({name: columns.get(name, nothing) for name in SHARD.names})


@settings(deadline=None, max_examples=80)
@given(
    cell=st.sampled_from(CELLS),
    east=st.floats(-6.0, 6.0),
    north=st.floats(-6.0, 6.0),
    radius_arcsec=st.sampled_from([0.3, 1.5, 30.0, 3600.0]),
)
def test_a_circle_that_touches_is_never_left_out(
    cell: int, east: float, north: float, radius_arcsec: float
) -> None:
    """Around a corner of the cell, in units of the radius."""
    moc = MOC.from_string(f"3/{cell}")
    lon, lat = cdshealpix.nested.vertices(np.array([cell]), 3)
    corner = SkyCoord(lon[0, 0], lat[0, 0])
    radius = radius_arcsec * u.arcsec
    centre = corner.directional_offset_by(
        np.arctan2(east, north) * u.rad, np.hypot(east, north) * radius
    )
    angles, parts = np.meshgrid(np.arange(0.0, 360.0, 5.0), np.linspace(0.0, 1.0, 11))
    circle = centre.directional_offset_by(angles.ravel() * u.deg, parts.ravel() * radius)
    touches = moc.contains_lonlat(circle.ra, circle.dec).any()
    # What is left out has some room: 1.5 radii from the centre there is nothing.
    room = centre.directional_offset_by(angles.ravel() * u.deg, parts.ravel() * 1.5 * radius)
    is_near = moc.contains_lonlat(room.ra, room.dec).any()
    (found,) = within_footprint(spec_with(f"3/{cell}", radius_arcsec), targets_at(centre))
    assert touches <= found <= is_near


def test_positions_are_those_at_the_epoch_of_the_archive() -> None:
    """2000 to 2016 with 100 mas a year: into the cell, 1.6 arcsec to the north."""
    lon, lat = cdshealpix.nested.vertices(np.array([304]), 3)
    south = SkyCoord(lon[0, 0], lat[0, 0]).directional_offset_by(0 * u.deg, -1.0 * u.arcsec)
    motion = {"pmra_masyr": 0.0, "pmdec_masyr": 100.0, "ref_epoch_jyear": 2000.0}
    spec = spec_with("3/304", radius_arcsec=0.1)
    assert not within_footprint(spec, targets_at(south)).any()
    assert within_footprint(spec, targets_at(south, **motion)).all()


def test_a_moc_in_a_file(tmp_path: Path) -> None:
    moc = MOC.from_string("3/304 4/5")
    moc.save(tmp_path / "moc.fits", format="fits")
    rng = np.random.default_rng(7)
    lon = Longitude(rng.uniform(0, 360, 300), u.deg)
    lat = Latitude(np.degrees(np.arcsin(rng.uniform(-1, 1, 300))), u.deg)
    targets = targets_at(SkyCoord(lon, lat))
    found = within_footprint(spec_with(str(tmp_path / "moc.fits")), targets)
    assert found.tolist() == within_footprint(spec_with("3/304 4/5"), targets).tolist()
    assert found.tolist() == moc.contains_lonlat(lon, lat).tolist()


@pytest.mark.parametrize("footprint", ["", "0/0-11"])
def test_everywhere(footprint: str) -> None:
    places = SkyCoord([0.0, 120.0, 0.0] * u.deg, [90.0, 0.0, -90.0] * u.deg)
    assert within_footprint(spec_with(footprint), targets_at(places)).all()


def test_no_targets() -> None:
    nobody = targets_at(SkyCoord([] * u.deg, [] * u.deg))
    assert within_footprint(spec_with("3/304"), nobody).shape == (0,)
