"""Damaged and strange catalogues end in an error that names the file and what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from written_catalogs import pixel_centres, random_table, write_hats, write_hive

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.parquet_format import (
    FileMetaData,
    OffsetIndex,
    read_struct,
    write_struct,
)
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.errors import ArchiveError, ArchiveSchemaError, DamagedFileError

PIXEL = (3, 100)
COLUMNS = ["lightcurve.hmjd", "lightcurve.mag"]
WRITTEN = {"pages": {"write_page_index": True}, "row groups": {}}


@pytest.fixture
def sources() -> pa.Table:
    (centre,) = pixel_centres([PIXEL])
    rng = np.random.default_rng(1)
    offsets = rng.uniform(-0.05, 0.05, (2, 500))
    return random_table(centre.ra_deg + offsets[0], centre.dec_deg + offsets[1], 1)


@pytest.fixture(params=WRITTEN)
def written(request: pytest.FixtureRequest, tmp_path: Path, sources: pa.Table) -> CatalogSpec:
    """A catalogue of one partition, to be read by either reader."""
    return write_hats(tmp_path / "catalog", sources, [PIXEL], **WRITTEN[request.param])


def data_file(spec: CatalogSpec) -> Path:
    (path,) = Path(spec.endpoint).rglob("Npix=*.parquet")
    return path


def rewrite(spec: CatalogSpec, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write the partition's file again, changed, in the way it was written."""
    path = data_file(spec)
    page_index = pq.read_metadata(path).row_group(0).column(0).has_column_index
    pq.write_table(
        change(pq.read_table(path, partitioning=None)), path, write_page_index=page_index
    )
    return path


def search(spec: CatalogSpec, sources: pa.Table, columns: list[str] = COLUMNS) -> SearchResult:
    ra, dec = sources["objra"].to_numpy()[::50], sources["objdec"].to_numpy()[::50]
    (one,), _ = plan_searches(open_catalog(spec), ra, dec, 2.0)
    return search_partition(spec, one, 2.0, columns)


def replaced(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values(table[name]))


def test_cut_file(written: CatalogSpec, sources: pa.Table) -> None:
    path = data_file(written)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: cannot be decoded"):
        search(written, sources)


def test_empty_file(written: CatalogSpec, sources: pa.Table) -> None:
    data_file(written).write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: cannot be decoded"):
        search(written, sources)


@pytest.mark.parametrize("column", ["_healpix_29", "objra", "lightcurve.mag.list.element"])
def test_torn_page(written: CatalogSpec, sources: pa.Table, column: str) -> None:
    path = data_file(written)
    group = pq.read_metadata(path).row_group(0)
    chunk = next(
        group.column(i)
        for i in range(group.num_columns)
        if group.column(i).path_in_schema == column
    )
    content = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = b"\xa5" * chunk.total_compressed_size
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: cannot be decoded"):
        search(written, sources)


@pytest.mark.parametrize("name", ["objra", "lightcurve.hmjd.list.element"])
def test_page_index_of_other_rows(tmp_path: Path, sources: pa.Table, name: str) -> None:
    """Rows taken by it would be those of other objects."""
    spec = write_hats(
        tmp_path / "catalog",
        sources,
        [PIXEL],
        write_page_index=True,
        use_dictionary=False,
        write_batch_size=50,
        data_page_size=1,
    )
    assert search(spec, sources).table.num_rows
    path = data_file(spec)
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    footer, _ = read_struct(FileMetaData, bytes(content[-8 - length : -8]))
    (chunk,) = (
        one
        for one in footer.row_groups[0].columns
        if b".".join(one.meta_data.path_in_schema).decode() == name
    )
    stored = slice(chunk.offset_index_offset, chunk.offset_index_offset + chunk.offset_index_length)
    index, _ = read_struct(OffsetIndex, bytes(content[stored]))
    assert len(index.page_locations) > 2
    for number, place in enumerate(index.page_locations):
        place.first_row_index += number
    content[stored] = write_struct(index)
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: .* as the page index says"):
        search(spec, sources)


def test_absent_file(written: CatalogSpec, sources: pa.Table) -> None:
    data_file(written).unlink()
    with pytest.raises(
        DamagedFileError, match=r"Npix=100\.parquet: listed or expected, but absent"
    ):
        search(written, sources)


@pytest.mark.parametrize("left", [[], ["_common_metadata", "notes.txt"]])
def test_folder_without_files(tmp_path: Path, sources: pa.Table, left: list[str]) -> None:
    spec = write_hats(tmp_path / "catalog", sources, [PIXEL], suffix="/")
    (folder,) = Path(spec.endpoint).rglob("Npix=100")
    for path in folder.iterdir():
        path.unlink()
    for name in left:
        (folder / name).touch()
    with pytest.raises(DamagedFileError, match=r"Npix=100/: the partition is listed but holds no"):
        search(spec, sources)
    for name in left:
        (folder / name).unlink()
    folder.rmdir()
    with pytest.raises(DamagedFileError, match=r"Npix=100/: listed or expected, but absent"):
        search(spec, sources)


@pytest.mark.parametrize("name", ["objra", "objdec", "objectid", "lightcurve"])
def test_missing_column(written: CatalogSpec, sources: pa.Table, name: str) -> None:
    rewrite(written, lambda table: table.drop(name))
    with pytest.raises(
        ArchiveSchemaError, match=rf"Npix=100\.parquet: column '{name}.*' is missing, found \['"
    ):
        search(written, sources)


def test_missing_field(written: CatalogSpec, sources: pa.Table) -> None:
    with pytest.raises(
        ArchiveSchemaError,
        match=r"column 'lightcurve\.flux' is missing, found \['catflags', 'hmjd', 'mag'\]",
    ):
        search(written, sources, ["lightcurve.flux"])


def test_field_of_a_plain_column(written: CatalogSpec, sources: pa.Table) -> None:
    with pytest.raises(
        ArchiveSchemaError,
        match="column 'filterid' has type int8, expected a struct with",
    ):
        search(written, sources, ["filterid.name"])


def test_position_of_wrong_type(written: CatalogSpec, sources: pa.Table) -> None:
    rewrite(written, replaced("objdec", lambda dec: pc.cast(dec, pa.string())))
    with pytest.raises(
        ArchiveSchemaError, match="column 'objdec' has type string, expected floating point"
    ):
        search(written, sources)


def test_key_of_wrong_type(written: CatalogSpec, sources: pa.Table) -> None:
    rewrite(written, replaced("_healpix_29", lambda key: pc.cast(key, pa.float64(), safe=False)))
    with pytest.raises(
        ArchiveSchemaError, match="column '_healpix_29' has type double, expected int64 or uint64"
    ):
        search(written, sources)


def test_lists_of_different_length(written: CatalogSpec, sources: pa.Table) -> None:
    def shorten(table: pa.Table) -> pa.Table:
        curves = table["lightcurve"].combine_chunks()
        mag = pa.array(
            [mag[:-1] if mag else mag for mag in pc.struct_field(curves, "mag").to_pylist()]
        )
        return replaced(
            "lightcurve",
            lambda _: pa.StructArray.from_arrays(
                [pc.struct_field(curves, "hmjd"), mag], ["hmjd", "mag"]
            ),
        )(table)

    rewrite(written, shorten)
    with pytest.raises(
        DamagedFileError,
        match=r"column 'lightcurve\.mag' has a list of \d elements where 'lightcurve\.hmjd' has \d",
    ):
        search(written, sources)


def test_files_of_a_partition_that_differ_in_type(tmp_path: Path, sources: pa.Table) -> None:
    spec = write_hats(tmp_path / "catalog", sources, [PIXEL], suffix="/", n_files=2)
    path = next(Path(spec.endpoint).rglob("part1.parquet"))
    table = pq.read_table(path, partitioning=None)
    pq.write_table(replaced("objectid", lambda ids: pc.cast(ids, pa.string()))(table), path)
    with pytest.raises(
        ArchiveSchemaError,
        match=r"part1\.parquet: columns objectid string, .*, expected objectid int",
    ):
        search(spec, sources)


def test_two_columns_of_one_name(written: CatalogSpec, sources: pa.Table) -> None:
    with pytest.raises(ValueError, match=r"\['hmjd'\] more than once"):
        search(written, sources, ["hmjd", "lightcurve.hmjd"])
    with pytest.raises(ValueError, match=r"\['target'\] more than once"):
        search(written, sources, ["target"])


def test_no_catalogue(tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing")
    spec = CatalogSpec(nothing, "hats", "objra", "objdec", "objectid")
    with pytest.raises(ArchiveError, match=r"nothing: no HATS catalogue, found none of hats\.p"):
        open_catalog(spec)
    hive = CatalogSpec(str(tmp_path), "hive", "ra", "dec", "id", partition="healpix_k5")
    with pytest.raises(ArchiveError, match="no hive catalogue, found no folder healpix_k5="):
        open_catalog(hive)
    absent = CatalogSpec(
        str(tmp_path / "nothing"), "hive", "ra", "dec", "id", partition="healpix_k5"
    )
    with pytest.raises(DamagedFileError, match="nothing: listed or expected, but absent"):
        open_catalog(absent)


def test_wrong_entry(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layout is 'table', expected 'hats' or 'hive'"):
        open_catalog(CatalogSpec(str(tmp_path), "table", "ra", "dec", "id"))
    with pytest.raises(ValueError, match="partition is 'pixel', expected a name that ends"):
        open_catalog(CatalogSpec(str(tmp_path), "hive", "ra", "dec", "id", partition="pixel"))


def test_catalogue_of_another_kind(written: CatalogSpec) -> None:
    path = Path(written.endpoint) / "hats.properties"
    path.write_text(path.read_text().replace("=object", "=margin"))
    with pytest.raises(ArchiveSchemaError, match="dataproduct_type is 'margin', expected one of"):
        open_catalog(written)


def test_damaged_lists_of_partitions(written: CatalogSpec) -> None:
    root = Path(written.endpoint)
    (root / "partition_info.csv").write_text("Norder,Npix\n3,100\n3,x\n")
    with pytest.raises(DamagedFileError, match=r"partition_info\.csv: line 3: Norder and Npix"):
        open_catalog(written)
    (root / "partition_info.csv").write_text("order,pixel\n3,100\n")
    with pytest.raises(DamagedFileError, match=r"partition_info\.csv: line 2: Norder and Npix"):
        open_catalog(written)
    (root / "hats.properties").write_bytes(b"\xff\xfe\x00\\u12")
    with pytest.raises(DamagedFileError, match=r"hats\.properties: no properties file"):
        open_catalog(written)
    (root / "hats.properties").unlink()
    (root / "collection.properties").write_text("obs_collection=small\n")
    with pytest.raises(DamagedFileError, match=r"collection\.properties: no hats_primary"):
        open_catalog(written)


def test_other_folders_of_a_hive_are_passed_over(tmp_path: Path, sources: pa.Table) -> None:
    spec = write_hive(tmp_path / "hive", sources, "healpix_k5", 5)
    n_partitions = len(open_catalog(spec).partitions)
    (tmp_path / "hive" / "healpix_k5=x").mkdir()
    (tmp_path / "hive" / "healpix_k50=1").mkdir()
    assert len(open_catalog(spec).partitions) == n_partitions > 0
