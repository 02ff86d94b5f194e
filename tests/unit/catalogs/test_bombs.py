"""Small files that unpack to gigabytes are refused before they do; large sound ones are read."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_catalogs import cells, in_memory, pixel_centres

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.page_limit import DEFAULT_PAGE_MB, ChunkPages, PageLimit
from lightloom.catalogs.parquet_format import (
    ColumnMetaData,
    FileMetaData,
    read_struct,
    write_struct,
)
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.config_schema import load_schema
from lightloom.errors import ArchiveError, DamagedFileError

PIXEL = (3, 100)
#: Elements of a list that takes 272 MB.
HUGE = 34_000_000
#: What the searches may allocate beyond what their process has with its modules: less than the
#: page takes twice, packed and decoded.
ROOM_BYTES = 300 << 20

#: Ways to write a file, by the plan with which it is read.
WRITTEN = {
    "page ranges": {"compression": "zstd", "write_page_index": True},
    "pyarrow row groups": {"compression": "zstd"},
}

#: Searches catalogues in one process, and prints what came of each.
SEARCH = """
import resource, sys
from pathlib import Path
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import search_partition
from lightloom.errors import ArchiveError

ra, dec, room, page_mb, *endpoints = sys.argv[1:]
in_use = int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (in_use + int(room),) * 2)
for endpoint in endpoints:
    spec = CatalogSpec(endpoint, "hats", "objra", "objdec", "objectid", page_mb=float(page_mb))
    (search,), _ = plan_searches(open_catalog(spec), [float(ra)], [float(dec)], 1.0)
    try:
        print(search_partition(spec, search, 1.0, ["objectid", "flux"]).plan)
    except ArchiveError as error:
        print(error.error_class, error)
"""


def write_catalogue(root: Path, lengths: list[int], **options: object) -> CatalogSpec:
    """A partition with a source per list, the elements of which are all zero."""
    folder = root / "dataset" / "Norder=3" / "Dir=0"
    folder.mkdir(parents=True)
    (root / "hats.properties").write_text("obs_collection=small\ndataproduct_type=object\n")
    (root / "partition_info.csv").write_text("Norder,Npix\n3,100\n")
    (centre,) = pixel_centres([PIXEL])
    ra = centre.ra_deg + 0.001 * np.arange(len(lengths))
    dec = np.full(len(lengths), centre.dec_deg)
    by_key = np.argsort(cells(ra, dec, 29))
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    table = pa.table(
        {
            "_healpix_29": cells(ra, dec, 29)[by_key],
            "objectid": np.arange(len(lengths)),
            "objra": ra[by_key],
            "objdec": dec[by_key],
            "flux": pa.ListArray.from_arrays(offsets, pa.array(np.zeros(sum(lengths)))),
        }
    )
    pq.write_table(table, folder / "Npix=100.parquet", use_dictionary=False, **options)
    return CatalogSpec(str(root), "hats", "objra", "objdec", "objectid")


def data_file(spec: CatalogSpec) -> Path:
    (path,) = Path(spec.endpoint).rglob("Npix=*.parquet")
    return path


def search(spec: CatalogSpec) -> SearchResult:
    (centre,) = pixel_centres([PIXEL])
    (one,), _ = plan_searches(open_catalog(spec), [centre.ra_deg], [centre.dec_deg], 1.0)
    return search_partition(spec, one, 1.0, ["objectid", "flux"])


def searched_with_little_memory(specs: list[CatalogSpec], page_mb: float) -> list[str]:
    (centre,) = pixel_centres([PIXEL])
    numbers = (centre.ra_deg, centre.dec_deg, ROOM_BYTES, page_mb)
    run = [sys.executable, "-c", SEARCH, *map(str, numbers), *(spec.endpoint for spec in specs)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_default_is_that_of_archives() -> None:
    entry = load_schema("archives.schema.yaml")["$defs"]["entry"]["properties"]
    assert entry["limits"]["properties"]["page_mb"]["default"] == DEFAULT_PAGE_MB


def test_pages_that_would_not_fit_into_memory(tmp_path: Path) -> None:
    # A page ends with a row, however long that is.
    bombs = [
        write_catalogue(tmp_path / name, [HUGE], data_page_size=1 << 30, **options)
        for name, options in WRITTEN.items()
    ]
    assert data_file(bombs[0]).stat().st_size < 20_000
    for said in searched_with_little_memory(bombs, page_mb=256):
        assert re.match(r"permanent \S.*Npix=100\.parquet: found a page of 2\d\d MB", said), said
        assert "in column 'flux" in said
        assert "expected at most 256 MB, as limits.page_mb says" in said
    # There was no room for it indeed.
    for said in searched_with_little_memory(bombs, page_mb=2000):
        assert re.match(r"damaged_file .*(malloc|realloc|memory)", said), said


@pytest.mark.parametrize("plan", WRITTEN)
@pytest.mark.parametrize("place", [lambda spec: spec, in_memory], ids=["local", "remote"])
def test_the_limit_is_on_a_page(
    tmp_path: Path, plan: str, place: Callable[[CatalogSpec], CatalogSpec]
) -> None:
    # Of 8 MB, in 80 rows on 80 pages.
    written = write_catalogue(
        tmp_path / "c", [12_500] * 80, data_page_size=1, write_batch_size=1, **WRITTEN[plan]
    )
    spec = place(written)
    found = search(replace(spec, page_mb=0.15))
    assert found.plan == plan
    assert found.table.num_rows == 12_500
    with pytest.raises(ArchiveError, match=r"page of 0\.1 MB, unpacked.*at most 0\.09 MB"):
        search(replace(spec, page_mb=0.09))


def with_footer(spec: CatalogSpec, change: Callable[[list[ColumnMetaData]], None]) -> None:
    """Change the metadata of the column chunks."""
    content = data_file(spec).read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    footer, _ = read_struct(FileMetaData, content[-8 - length : -8])
    (row_group,) = footer.row_groups
    change([chunk.meta_data for chunk in row_group.columns])
    changed = write_struct(footer)
    tail = changed + len(changed).to_bytes(4, "little") + b"PAR1"
    data_file(spec).write_bytes(content[: -8 - length] + tail)


def test_a_footer_that_tells_of_smaller_pages(tmp_path: Path) -> None:
    spec = write_catalogue(tmp_path / "c", [10_000] * 4, **WRITTEN["pyarrow row groups"])

    def shrink(chunks: list[ColumnMetaData]) -> None:
        chunks[4].total_uncompressed_size = 1000

    with_footer(spec, shrink)
    with pytest.raises(DamagedFileError, match=r"found pages of at least \d+ bytes.*expected 1000"):
        search(spec)


def test_a_column_within_another_one(tmp_path: Path) -> None:
    spec = write_catalogue(tmp_path / "c", [300_000] * 20, compression="none")

    def hide(chunks: list[ColumnMetaData]) -> None:
        # The list begins where it did, and the ids in the midst of it.
        chunks[1].data_page_offset = chunks[4].data_page_offset + 5_000_000

    with_footer(spec, hide)
    with pytest.raises(DamagedFileError):
        search(spec)


def test_nothing_that_is_no_page_is_passed_over(tmp_path: Path) -> None:
    spec = write_catalogue(tmp_path / "c", [10_000] * 4, **WRITTEN["pyarrow row groups"])
    content = data_file(spec).read_bytes()
    with pq.ParquetFile(data_file(spec)) as parquet:

        def check(content: bytes, piece: int) -> None:
            pages = ChunkPages.of(PageLimit("a file", 1), parquet, 0, 4)
            for start in range(pages.start, pages.end, piece):
                pages.check(start, content[start : start + piece])

        start = parquet.metadata.row_group(0).column(4).data_page_offset
    for piece in (1, 7, 1 << 20):
        check(content, piece)
        for header in (b"\x00", b"\x1f", b"\x15\x00\x15\x01\x15\x00\x00", b"\x1c" * 5000):
            damaged = content[:start] + header + content[start + len(header) :]
            with pytest.raises(DamagedFileError, match=f"expected a page at {start}"):
                check(damaged, piece)
