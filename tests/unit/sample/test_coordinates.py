"""Conversions of coordinates, against exact arithmetic and against astropy."""

from decimal import Decimal

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import Angle
from hypothesis import given
from hypothesis import strategies as st

from lightloom.sample.coordinates import (
    designations,
    healpix_29,
    parse_numbers,
    parse_sexagesimal,
    to_icrs,
)

RA = st.decimals(0, 360, places=9, allow_nan=False).filter(lambda ra: ra < 360)
DEC = st.decimals(-90, 90, places=9, allow_nan=False)


@given(RA, DEC)
def test_designation_is_truncated(ra: Decimal, dec: Decimal) -> None:
    (name,) = designations(np.array([float(ra)]), np.array([float(dec)]))
    hundredths, tenths = int(ra * 24_000), int(abs(dec) * 36_000)
    hours, minutes, seconds = hundredths // 360_000, hundredths // 6_000 % 60, hundredths % 6_000
    degrees, arcmin, arcsec = tenths // 36_000, tenths // 600 % 60, tenths % 600
    assert name == (
        f"J{hours:02d}{minutes:02d}{seconds // 100:02d}.{seconds % 100:02d}"
        f"{'-' if dec < 0 else '+'}"
        f"{degrees:02d}{arcmin:02d}{arcsec // 10:02d}.{arcsec % 10}"
    )


@pytest.mark.parametrize(
    ("ra_deg", "dec_deg", "name"),
    [
        (8.521791667, -1.396, "J003405.23-012345.6"),
        (8.5135, 1 / 3, "J003403.24+002000.0"),
        (np.nextafter(360.0, 0), 90.0, "J235959.99+900000.0"),
        (0.0, -90.0, "J000000.00-900000.0"),
        (0.0, -1e-5, "J000000.00-000000.0"),
        (0.0, 0.0, "J000000.00+000000.0"),
        (359.999999, 59.9999999, "J235959.99+595959.9"),
    ],
)
def test_designation(ra_deg: float, dec_deg: float, name: str) -> None:
    assert designations(np.array([ra_deg]), np.array([dec_deg])) == [name]


@given(
    st.sampled_from("+- "),
    st.integers(0, 89),
    st.integers(0, 59),
    st.decimals(0, 59, places=3),
    st.sampled_from(["{}:{}:{}", "{}d{}m{}s", "{} {} {}", "{}: {}: {}", "{}°{}′{}″"]),
)
def test_sexagesimal(sign: str, degrees: int, minutes: int, seconds: Decimal, style: str) -> None:
    text = (sign + style.format(degrees, f"{minutes:02d}", seconds)).strip()
    value = parse_sexagesimal(pa.array([text]))[0]
    plain = f"{sign}{degrees}d{minutes}m{seconds}s".strip()
    assert value == pytest.approx(Angle(plain).to_value(u.deg), abs=1e-12)


@pytest.mark.parametrize(
    "text", ["1:60:0", "1:0:60", "1:2", "1:2:3:4", "1:-2:3", "1.5:2:3", "abc", "", "1h2d3s4", "::"]
)
def test_text_that_is_not_sexagesimal(text: str) -> None:
    assert np.isnan(parse_sexagesimal(pa.array([text]))[0])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_exact(number: float) -> None:
    assert parse_numbers(pa.array([repr(number)]))[0] == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_0", "0x1F", "1,5", "1e", ".", "1 2", "True"])
def test_text_that_is_no_number(text: str) -> None:
    assert np.isnan(parse_numbers(pa.array([text]))[0])


@pytest.mark.parametrize("frame", ["icrs", "fk5", "galactic"])
def test_no_rows_in_any_frame(frame: str) -> None:
    nothing = np.array([])
    assert [len(part) for part in to_icrs(nothing, nothing, (nothing, nothing), frame)] == [0] * 4


def test_cells_are_those_of_the_hats_convention() -> None:
    from hats.pixel_math.spatial_index import compute_spatial_index

    rng = np.random.default_rng(5)
    ra_deg = np.concatenate([rng.uniform(0, 360, 500), [0, 0, 45, 359.9999999]])
    dec_deg = np.concatenate([rng.uniform(-90, 90, 500), [90, -90, 0, 41.8]])
    cells = healpix_29(ra_deg, dec_deg)
    np.testing.assert_array_equal(cells, compute_spatial_index(ra_deg, dec_deg))
