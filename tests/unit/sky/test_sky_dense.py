"""The large catalogues for benchmarks, in a small edition."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from lightloom.sky import gaia, panstarrs, unwise, ztf
from lightloom.sky.__main__ import main
from lightloom.sky.dense import DenseSize, Layout, build_dense

HATS = (ztf.CATALOGUE, gaia.CATALOGUE, panstarrs.OBJECTS, panstarrs.DETECTIONS)
SIZE = DenseSize(n_objects=3_001, mean_epochs=6, n_visits=3, n_partitions=4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, Path]:
    """The catalogues in both layouts."""
    root = tmp_path_factory.mktemp("dense")
    for layout in Layout:
        build_dense(root / layout, SIZE, layout, 300, 5)
    return {layout: root / layout for layout in Layout}


def read_hats(folder: Path, catalogue: str) -> pa.Table:
    return ds.dataset(folder / catalogue / "dataset").to_table()


def read_ztf(folder: Path) -> pa.Table:
    return read_hats(folder, ztf.CATALOGUE)


def read_unwise(folder: Path) -> pa.Table:
    path = folder / unwise.CATALOGUE / "_metadata"
    return ds.parquet_dataset(path, partitioning="hive").to_table()


def test_layouts_hold_the_same_rows(folders: dict[Layout, Path]) -> None:
    legacy, paged = folders[Layout.LEGACY], folders[Layout.PAGED]
    for catalogue in HATS:
        # As text, since NaN differs from itself.
        found, expected = (repr(read_hats(one, catalogue).to_pylist()) for one in (legacy, paged))
        assert found == expected
    assert read_unwise(legacy).equals(read_unwise(paged))


def test_sizes_are_as_asked(folders: dict[Layout, Path]) -> None:
    objects = read_ztf(folders[Layout.PAGED])
    assert objects.num_rows == 3_000
    assert objects["nepochs"].to_numpy().mean() == pytest.approx(6.0, rel=0.03)
    assert objects["nepochs"].to_numpy().min() >= 1
    assert read_unwise(folders[Layout.PAGED]).num_rows == 1_500 * 3 * 2


@pytest.mark.parametrize(
    ("layout", "n_groups", "has_index"), [("legacy", 1, False), ("paged", 3, True)]
)
def test_row_groups_and_page_index(
    folders: dict[Layout, Path], layout: str, n_groups: int, has_index: bool
) -> None:
    files = sorted((folders[Layout(layout)] / ztf.CATALOGUE / "dataset").glob("*/*/*/*.parquet"))
    assert len(files) == 4
    for file in files:
        footer = pq.read_metadata(file)
        assert footer.num_row_groups == n_groups
        assert footer.row_group(0).column(0).has_offset_index is has_index


def test_lsdb_opens_them(folders: dict[Layout, Path], lsdb: ModuleType) -> None:
    for folder in folders.values():
        catalogue = lsdb.open_catalog(folder / ztf.CATALOGUE)
        assert {pixel.order for pixel in catalogue.get_healpix_pixels()} == {5}
        assert len(catalogue) == 3_000


def test_gaia_and_panstarrs_see_some_of_the_sources(folders: dict[Layout, Path]) -> None:
    transits = read_hats(folders[Layout.PAGED], gaia.CATALOGUE)
    assert transits.num_rows == 500
    assert len(transits["source_id"].unique()) == 500
    objects = read_hats(folders[Layout.PAGED], panstarrs.OBJECTS)
    detections = read_hats(folders[Layout.PAGED], panstarrs.DETECTIONS)
    assert objects.num_rows == 376
    assert len(detections["detectID"].unique()) == detections.num_rows
    found = detections.group_by("objID").aggregate([("objID", "count")]).sort_by("objID")
    expected = objects.sort_by("objID")
    assert found["objID"].equals(expected["objID"])
    assert found["objID_count"].to_pylist() == expected["nDetections"].to_pylist()


@pytest.mark.parametrize("catalogue", HATS)
def test_rows_lie_in_order_and_in_their_partitions(
    folders: dict[Layout, Path], catalogue: str
) -> None:
    for file in (folders[Layout.PAGED] / catalogue / "dataset").glob("*/*/*/*.parquet"):
        cells = pq.read_table(file, columns=["_healpix_29"], partitioning=None)[0].to_numpy()
        assert np.all(np.diff(cells) >= 0)
        assert {f"Npix={cell}" for cell in cells >> 48} == {file.parent.name}


def test_command_line_writes_what_it_is_asked_for(tmp_path: Path) -> None:
    folder, sample = tmp_path / "dense", tmp_path / "targets.csv"
    size = "--objects 3001 --epochs 6 --visits 3 --partitions 4 --layout legacy"
    main(["--seed", "5", "dense", "--output", str(folder), *size.split()])
    catalogue = str(folder / ztf.CATALOGUE)
    main(["targets", "--catalogue", catalogue, "--number", "20", "--output", str(sample)])
    assert read_ztf(folder).num_rows == 3_000
    lines = sample.read_text().splitlines()
    assert lines[0] == "name,ra,dec"
    assert len(lines) == 21
