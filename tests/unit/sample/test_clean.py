"""Merging of rows, against brute force and in awkward places."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from written_tables import error_lines, table

from lightloom.config_sources import TableSource
from lightloom.sample.read import Sample, read_sample


def _source(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> TableSource:
    places = zip(ra_deg.tolist(), dec_deg.tolist(), strict=True)
    rows = [f"T{number},{ra!r},{dec!r}\n" for number, (ra, dec) in enumerate(places)]
    return table("id,ra,dec\n" + "".join(rows), id="id")


def _groups(sample: Sample) -> set[frozenset[str]]:
    return {frozenset(ids) for ids in sample.targets["source_ids"].to_pylist()}


def _friends(linked: NDArray[np.bool_]) -> set[frozenset[str]]:
    """Join by brute force all that is linked."""
    group = list(range(len(linked)))
    for first, second in zip(*np.nonzero(linked), strict=True):
        joined = group[second]
        group = [group[first] if number == joined else number for number in group]
    return {
        frozenset(f"T{n}" for n, number in enumerate(group) if number == wanted) for wanted in group
    }


#: Across RA 0, at both poles, close to one, and at the corner of four HEALPix base cells.
PLACES = [(0.0, 0.0), (0.0, 60.0), (123.0, 90.0), (7.0, -90.0), (300.0, 89.9995), (45.0, 0.0)]


@given(
    st.sampled_from(PLACES),
    st.lists(st.tuples(st.floats(0, 360), st.floats(0, 6)), min_size=1, max_size=8, unique=True),
    st.sampled_from([0.5, 1.0, 2.5]),
)
def test_rows_are_merged_as_by_brute_force(
    place: tuple[float, float], offsets: list[tuple[float, float]], radius_arcsec: float
) -> None:
    centre = SkyCoord(*place, unit="deg")
    angle, distance = np.array(offsets).T
    around = centre.directional_offset_by(angle * u.deg, distance * u.arcsec)
    separations = around[:, None].separation(around[None, :]).arcsec
    # Rounding decides what lies on the radius itself.
    assume(not np.any(np.abs(separations - radius_arcsec) < 1e-6))
    source = _source(around.ra.wrap_at(360 * u.deg).deg % 360, around.dec.deg)
    sample = read_sample([source], merge_radius_arcsec=radius_arcsec)
    assert _groups(sample) == _friends(separations <= radius_arcsec)
    assert sample.targets.num_rows + sample.merged.num_rows == len(offsets)
    ids = sample.targets["objectid"].to_pylist()
    assert len(set(ids)) == len(ids)
    for merge in sample.merged.to_pylist():
        kept, merged = (int(merge[name][1:]) for name in ("objectid", "merged_id"))
        expected = around[kept].separation(around[merged]).arcsec
        assert merge["separation_arcsec"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("ra", "dec"),
    [((359.9999, 0.0001), (0, 0)), ((0, 180), (89.9999, 89.9999)), ((10, 250), (-90, -90))],
)
def test_neighbours_across_a_seam(ra: tuple[float, float], dec: tuple[float, float]) -> None:
    sample = read_sample([_source(np.array(ra, float), np.array(dec, float))])
    assert _groups(sample) == {frozenset({"T0", "T1"})}


def test_chain_of_neighbours_is_one_target() -> None:
    source = _source(np.arange(5) * 0.9 / 3600, np.zeros(5))
    assert _groups(read_sample([source])) == {frozenset(f"T{n}" for n in range(5))}
    assert read_sample([source], merge_radius_arcsec=0.8).targets.num_rows == 5


def test_kept_row_comes_first_on_the_sky() -> None:
    sample = read_sample([_source(np.array([10.0001, 10.0, 10.0002]), np.zeros(3))])
    apart = read_sample([_source(np.array([10.0001, 10.0, 10.0002]), np.zeros(3))], "stop", 0)
    assert sample.targets["objectid"].to_pylist() == apart.targets["objectid"].to_pylist()[:1]
    assert sample.targets["ra_deg"].to_pylist() == apart.targets["ra_deg"].to_pylist()[:1]


def test_same_id_at_the_same_place_is_one_target() -> None:
    source = table(
        "id,ra,dec,type\nX,10,20,B\nX,10,20,A\nX,10,20,A\n", id="id", label_column="type"
    )
    for radius_arcsec in (0.0, 1.0):
        (target,) = read_sample([source], "stop", radius_arcsec).targets.to_pylist()
        assert target["labels"] == ["A", "B"]
        assert target["source_rows"] == ["t.csv:2", "t.csv:3", "t.csv:4"]


def test_radius_of_zero_keeps_ids_at_one_place_apart() -> None:
    source = table("id,ra,dec\nY,10,20\nX,10,20\n", id="id")
    assert read_sample([source], "stop", 0).targets["objectid"].to_pylist() == ["X", "Y"]


def test_id_at_several_places() -> None:
    source = table("id,ra,dec\nX,10,20\nA,50,1\nX,10,20.001\nX,10,20\n", id="id")
    expected = "expected one place for an id, within 1 arcsec"
    assert error_lines(source) == [
        f"t.csv, row {row}, column 'id': found 'X', also in t.csv, row {other},"
        f" 3.60 arcsec away, {expected}"
        for row, other in ((2, 4), (4, 2), (5, 4))
    ]
    sample = read_sample([source], "skip")
    assert sample.targets["objectid"].to_pylist() == ["A"]
    assert sample.rejected["row"].to_pylist() == [2, 4, 5]
    assert read_sample([source], "stop", 5.0).targets.num_rows == 2


def test_rows_linked_by_a_row_set_aside_are_checked_again() -> None:
    # B links the two rows of X until the other B, far away, sets it aside.
    source = table("id,ra,dec\nX,10,0\nB,10,0.00025\nX,10,0.0005\nB,80,0\nC,90,0\n", id="id")
    sample = read_sample([source], "skip")
    assert sample.targets["objectid"].to_pylist() == ["C"]
    assert sorted(sample.rejected["row"].to_pylist()) == [2, 3, 4, 5]


def test_names_by_position_that_coincide() -> None:
    source = table("ra,dec\n10.00001,20\n10.00002,20\n")
    assert read_sample([source]).targets.num_rows == 1
    hint = "; a column of ids or a larger merge_radius_arcsec tells them apart"
    assert error_lines(source, merge_radius_arcsec=0.01) == [
        f"t.csv, row {row}: found 'J004000.00+200000.0', also in t.csv, row {other},"
        f" 0.03 arcsec away, expected one place for an id, within 0.01 arcsec{hint}"
        for row, other in ((2, 3), (3, 2))
    ]


def test_many_rows_at_one_place() -> None:
    source = table(
        "id,ra,dec\n" + "".join(f"T{n},10,20\n" for n in range(20_000)), id="id", unit="deg"
    )
    sample = read_sample([source])
    assert sample.targets["objectid"].to_pylist() == ["T0"]
    assert sample.merged.num_rows == 19_999
