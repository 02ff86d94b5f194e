"""Orbits, places and ephemerides of the embedded sky: against published vectors and astropy."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, get_body_barycentric_posvel
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.sky.moving.bodies import bundled, main_solutions
from lightloom.sky.moving.ephemeris import LIGHT_SPEED, observe
from lightloom.sky.moving.observers import KM_PER_AU, SITES, tdb_of, view
from lightloom.sky.moving.orbits import GM_SUN, Orbits, heliocentric

I41, CENTRE = SITES["I41"], SITES["500"]

#: Of two replies of Horizons: elements (q, e, i, node, peri, Tp), epoch, and the "equivalent ICRF
#: heliocentric cartesian coordinates" that it prints with them.
PUBLISHED = [
    (
        (
            *(2.556401146697176, 0.07687465013145245, 10.59127767086216),
            *(80.3011901917491, 73.80896808746482, 2458240.1791309435),
        ),
        2458849.5,
        (1.007608869613381, -2.390064275223502, -1.332124522752402),
        (9.201724467227128e-03, 3.370381135398406e-03, -2.850337057661093e-04),
    ),
    (
        (
            *(0.3362300806790429, 0.8485141889848308, 11.50170416921873),
            *(334.3120522286535, 187.0124965530834, 2460239.0189482248),
        ),
        2459752.5,
        (3.886668467170212, -0.9188393246574216, -0.2098903569670719),
        (-9.846074938312395e-04, 3.120416928338697e-03, 1.988497527345202e-03),
    ),
]


def orbit_of(values: tuple[float, ...]) -> Orbits:
    return Orbits(*(np.array(value) for value in values))


@pytest.mark.parametrize(("elements", "epoch_jd", "position", "velocity"), PUBLISHED)
def test_elements_give_the_published_vectors(
    elements: tuple, epoch_jd: float, position: tuple, velocity: tuple
) -> None:
    orbit = orbit_of((*elements[:5], elements[5] - 2_400_000.5))
    found = heliocentric(orbit, np.array(epoch_jd - 2_400_000.5))
    np.testing.assert_allclose(found[0], position, rtol=0, atol=3e-10)
    np.testing.assert_allclose(found[1], velocity, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    q=st.floats(0.01, 10),
    e=st.one_of(st.floats(0, 4), st.floats(0.9999, 1.0001), st.just(1.0)),
    angles=st.tuples(*[st.floats(0, 360)] * 3),
    elapsed_d=st.floats(-8000, 8000),
)
def test_orbits_obey_the_law_of_gravity(
    q: float, e: float, angles: tuple, elapsed_d: float
) -> None:
    orbit = orbit_of((q, e, *angles, 58_000.0))
    step_d = 1e-3 * q**1.5
    times = 58_000.0 + elapsed_d + np.array([-step_d, 0.0, step_d])
    position, velocity = heliocentric(orbit, times)
    radius = np.linalg.norm(position, axis=-1)
    energy = (velocity**2).sum(axis=-1) / 2 - GM_SUN / radius
    np.testing.assert_allclose(energy, -GM_SUN * (1 - e) / (2 * q), atol=1e-9 * GM_SUN / q)
    momentum = np.linalg.norm(np.cross(position, velocity), axis=-1)
    np.testing.assert_allclose(momentum, np.sqrt(GM_SUN * q * (1 + e)), rtol=1e-9)
    moved = (position[2] - position[0]) / (2 * step_d)
    scale = np.linalg.norm(velocity[1])
    np.testing.assert_allclose(moved, velocity[1], atol=1e-4 * scale)


def test_a_closed_orbit_comes_back() -> None:
    orbit = orbit_of((0.334, 0.849, 11.8, 334.5, 186.6, 58_000.0))
    period_d = 2 * np.pi / np.sqrt(GM_SUN) * (0.334 / 0.151) ** 1.5
    times = 58_123.4 + period_d * np.array([0, 1, -3])
    position, _ = heliocentric(orbit, times)
    np.testing.assert_allclose(position - position[0], 0, atol=1e-9)


def test_places_are_those_of_astropy() -> None:
    utc_mjd = np.linspace(58_300, 59_500, 40) + 0.123
    place = view(I41, utc_mjd)
    centre = view(CENTRE, utc_mjd)
    time = Time(utc_mjd, format="mjd", scale="utc")
    # Geodetic latitude and height of Palomar: the parallax constants in other words.
    palomar = EarthLocation.from_geodetic(-116.85978 * u.deg, 33.35712 * u.deg, 1700 * u.m)
    position, velocity = palomar.get_gcrs_posvel(time)
    offset_km = (place.observer - centre.observer) * KM_PER_AU
    assert np.abs(offset_km - position.xyz.to_value(u.km).T).max() < 0.7
    motion = (place.observer_velocity - centre.observer_velocity) * KM_PER_AU / 86400
    assert np.abs(motion - velocity.xyz.to_value(u.km / u.s).T).max() < 1e-4
    earth, earth_velocity = get_body_barycentric_posvel("earth", time)
    assert np.abs(centre.observer - earth.xyz.to_value(u.au).T).max() * KM_PER_AU < 0.1
    assert np.abs(centre.observer_velocity - earth_velocity.xyz.to_value(u.au / u.d).T).max() < 1e-9


def test_light_arrives_from_where_the_object_was() -> None:
    utc_mjd = np.linspace(58_300, 59_500, 7)
    for body in main_solutions(bundled()):
        place = view(I41, utc_mjd)
        sight = observe(body.orbit, place)
        delay_d = sight.distance_au / LIGHT_SPEED
        was, _ = heliocentric(body.orbit, place.time_mjd - delay_d)
        path = place.sun - delay_d[:, None] * place.sun_velocity + was - place.observer
        distance = np.linalg.norm(path, axis=-1)
        np.testing.assert_allclose(distance, sight.distance_au, rtol=1e-12)
        np.testing.assert_allclose(path / distance[:, None], sight.direction, atol=1e-11)


def test_rates_are_the_change_of_what_is_seen() -> None:
    utc_mjd = np.linspace(58_300, 59_500, 11)
    step_d = 1e-3
    for body in main_solutions(bundled()):
        before, now, after = (
            observe(body.orbit, view(I41, utc_mjd + shift)) for shift in (-step_d, 0, step_d)
        )
        per_hour = 3600 / (2 * step_d * 24)
        ra = (after.ra_deg - before.ra_deg + 180) % 360 - 180
        moved = np.stack([ra * np.cos(np.radians(now.dec_deg)), after.dec_deg - before.dec_deg])
        rate = np.stack([now.ra_rate, now.dec_rate])
        np.testing.assert_allclose(moved * per_hour, rate, atol=2e-3, rtol=1e-4)
        nearer = (after.distance_au - before.distance_au) / (2 * step_d) * KM_PER_AU / 86400
        np.testing.assert_allclose(nearer, now.distance_rate, atol=1e-3)


def test_dynamical_time_is_ahead_by_the_leap_seconds() -> None:
    assert (tdb_of(np.array([58_849.0])) - 58_849.0) * 86400 == pytest.approx([69.184], abs=1e-5)
