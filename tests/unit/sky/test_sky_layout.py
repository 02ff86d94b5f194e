"""The catalogues of the embedded sky lie on disk as those of the archives do."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from hats.io.paths import get_healpix_from_path
from hats.io.validation import is_valid_catalog
from hats.pixel_math.spatial_index import compute_spatial_index

from lightloom.sky import unwise, ztf


def test_lsdb_opens_the_ztf_catalogue(small_sky: Path, lsdb: ModuleType) -> None:
    assert is_valid_catalog(small_sky / ztf.CATALOGUE, strict=True)
    catalogue = lsdb.open_catalog(small_sky / ztf.CATALOGUE)
    assert {pixel.order for pixel in catalogue.get_healpix_pixels()} >= {2, 3}
    found = catalogue.cone_search(0.28136, -0.09789, 2.0).compute()
    assert set(found["filterid"]) >= {1, 2}
    assert found["lightcurve.hmjd"].between(58_190, 60_610).all()
    assert found["nepochs"].sum() == len(found["lightcurve.hmjd"])


def test_partitions_are_folders_of_sorted_objects(small_sky: Path) -> None:
    files = sorted((small_sky / ztf.CATALOGUE / "dataset").glob("Norder=*/Dir=*/Npix=*/*.parquet"))
    n_rows = 0
    for file in files:
        table = pq.read_table(file, partitioning=None)
        assert table.schema.equals(ztf.SCHEMA, check_metadata=False)
        cells = table["_healpix_29"].to_numpy()
        assert np.all(np.diff(cells) >= 0)
        pixel = get_healpix_from_path(str(file))
        assert set(cells >> 2 * (29 - pixel.order)) == {pixel.pixel}
        position = (table[name].to_numpy().astype(np.float64) for name in ("objra", "objdec"))
        np.testing.assert_array_equal(compute_spatial_index(*position), cells)
        n_rows += table.num_rows
    metadata = pq.read_metadata(small_sky / ztf.CATALOGUE / "dataset" / "_metadata")
    assert metadata.num_rows == n_rows


def test_files_have_small_row_groups_and_a_page_index(small_sky: Path) -> None:
    for catalogue in (ztf.CATALOGUE, unwise.CATALOGUE):
        files = [f for f in (small_sky / catalogue).rglob("*.parquet") if f.is_file()]
        footers = [pq.read_metadata(file) for file in files]
        assert max(footer.num_row_groups for footer in footers) > 1
        for footer in footers:
            column = footer.row_group(0).column(0)
            assert column.has_offset_index
            assert column.has_column_index


def test_objects_are_those_of_the_survey(small_sky: Path) -> None:
    objects = ds.dataset(small_sky / ztf.CATALOGUE / "dataset").to_table()
    objectid = objects["objectid"].to_numpy()
    assert len(np.unique(objectid)) == len(objectid)
    np.testing.assert_array_equal(objectid // 10**12, objects["fieldid"].to_numpy())
    np.testing.assert_array_equal(objectid // 10**11 % 10, objects["filterid"].to_numpy())
    ccd, quadrant = objectid // 10**9 % 100, objectid // 10**8 % 10
    np.testing.assert_array_equal(4 * (ccd - 1) + quadrant - 1, objects["rcid"].to_numpy())
    assert objects["objdec"].to_numpy().min() > ztf.DEC_MIN_DEG - 0.001
    assert set(objects["filterid"].to_pylist()) == {1, 2, 3}
    lightcurves = objects["lightcurve"].combine_chunks()
    lengths = {
        name: pc.list_value_length(lightcurves.field(name)).to_pylist()
        for name in ("hmjd", "mag", "magerr", "clrcoeff", "catflags")
    }
    assert all(values == objects["nepochs"].to_pylist() for values in lengths.values())
    assert 0 in lengths["hmjd"]
    assert 1 in lengths["hmjd"]


def test_pyarrow_opens_the_unwise_catalogue(small_sky: Path) -> None:
    dataset = ds.parquet_dataset(small_sky / unwise.CATALOGUE / "_metadata", partitioning="hive")
    table = dataset.to_table()
    detections = table.to_pandas()
    assert len(detections) == dataset.count_rows() > 10_000
    cells = compute_spatial_index(detections["ra"], detections["dec"], 5)
    np.testing.assert_array_equal(cells, detections["healpix_k5"])
    assert detections["unwise_detid"].is_unique
    assert detections["unwise_detid"].str.len().unique().tolist() == [22]
    assert set(detections["primary"]) == {0, 1}
    assert (detections["flux"] < 0).any()
    visits = detections[["coadd_id", "band", "EPOCH", "MJDMEAN"]].drop_duplicates()
    assert not visits.duplicated(["coadd_id", "band", "EPOCH"]).any()
    assert detections["MJDMEAN"].between(55_200, 59_200).all()
    assert set(detections["EPOCH"]) >= set(range(16))
