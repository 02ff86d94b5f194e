"""Reading, grouping and drawing the targets of the embedded sky."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow.dataset as ds
import pytest
from astropy.coordinates import SkyCoord

from lightloom.errors import SampleError
from lightloom.sky.targets import (
    Target,
    draw_targets,
    group_targets,
    leading_target,
    read_sample,
)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("b,361.0,0.0", r"ra=361\.0, dec=0\.0"),
        ("b,1.0,-90.5", r"ra=1\.0, dec=-90\.5"),
        ("b,,5.0", r"ra=nan, dec=5\.0"),
        ("b,12h,5.0", r"ra=12h, dec=5\.0"),
    ],
)
def test_wrong_positions_are_named(tmp_path: Path, row: str, found: str) -> None:
    path = tmp_path / "sample.csv"
    path.write_text(f"name,ra,dec\na,1.0,2.0\n{row}\n")
    with pytest.raises(SampleError, match=rf"sample\.csv: row 2: found .*{found}"):
        read_sample(path)


def test_positions_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text("name,ra,dec\n007,120.94815000000001,-0.1\n")
    assert read_sample(path) == [Target("007", 120.94815000000001, -0.1, "sample")]


def test_groups_are_chains_of_close_targets() -> None:
    positions = [(359.9999, 0.0), (10.0, 0.0), (0.0, 0.0), (0.0001, 0.0), (10.0, 0.001)]
    targets = [Target(str(i), ra, dec, "") for i, (ra, dec) in enumerate(positions)]
    assert group_targets(targets, 0.5).tolist() == [0, 1, 0, 0, 2]
    assert group_targets(targets, 0.3).tolist() == [0, 1, 2, 3, 4]


def test_the_leader_comes_first_in_the_healpix_order_then_by_id() -> None:
    # From south to north within one cell of order 12 the cell of order 29 grows.
    north, south = Target("a", 45.0, 0.0002, ""), Target("b", 45.0, 0.0001, "")
    assert leading_target([north, south]) == south
    twin = Target("a", 45.0, 0.0001, "")
    assert leading_target([south, twin]) == twin


def test_drawn_targets_are_near_objects(small_sky: Path) -> None:
    catalogue = small_sky / "ztf_dr24_lc-hats"
    targets = draw_targets(catalogue, 300, 3, max_offset_arcsec=0.7)
    objects = ds.dataset(catalogue / "dataset").to_table(columns=["objra", "objdec"])
    ra_deg, dec_deg = (column.to_numpy().astype(np.float64) for column in objects.columns)
    position = SkyCoord(ra_deg * u.deg, dec_deg * u.deg)
    _, separation, _ = SkyCoord(
        targets["ra"].to_numpy() * u.deg, targets["dec"].to_numpy() * u.deg
    ).match_to_catalog_sky(position)
    assert separation.arcsec.max() < 0.7001
    assert targets["name"].is_unique
    assert targets.equals(draw_targets(catalogue, 300, 3, max_offset_arcsec=0.7))
    assert not np.allclose(targets["ra"], draw_targets(catalogue, 300, 4)["ra"])
