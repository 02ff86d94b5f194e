"""The memory of a search does not grow with the partition."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_catalogs import cells, pixel_centres

PIXEL = (2, 20)
N_SOURCES, N_EPOCHS = 50_000, 300
#: With all matches in one query, or a row group in one batch, it takes 380 to 480 MiB.
LIMIT_MIB = 345

#: Prints by how much the peak of the process exceeds what it needs for its modules.
SEARCH = """
import re, sys
from pathlib import Path
import numpy as np
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import search_partition

def peak_mib():
    # Not that of getrusage, which begins with what the parent process has used.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

endpoint, positions = sys.argv[1:]
ra_deg, dec_deg = np.load(positions)
spec = CatalogSpec(endpoint, "hats", "objra", "objdec", "objectid")
(search,), _ = plan_searches(open_catalog(spec), ra_deg, dec_deg, 0.1)
before = peak_mib()
found = search_partition(spec, search, 0.1, ["objectid", "lightcurve.hmjd", "lightcurve.mag"])
print(found.plan, found.matches.num_rows, peak_mib() - before, sep=";")
"""


@pytest.fixture(scope="module")
def partition(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, Path]:
    """A partition of 15 million epochs, and a file with the positions of some sources."""
    rng = np.random.default_rng(1)
    (centre,) = pixel_centres([PIXEL])
    ra, dec = rng.uniform(-2, 2, (2, N_SOURCES))
    ra, dec = centre.ra_deg + ra, centre.dec_deg + dec
    key = cells(ra, dec, 29)
    by_key = np.argsort(key)
    ra, dec = ra[by_key], dec[by_key]
    offsets = pa.array(np.arange(0, N_SOURCES * N_EPOCHS + 1, N_EPOCHS), pa.int32())
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(rng.random(N_SOURCES * N_EPOCHS)))
        for _ in ("hmjd", "mag")
    ]
    table = pa.table(
        {
            "_healpix_29": key[by_key],
            "objectid": np.arange(N_SOURCES),
            "objra": ra,
            "objdec": dec,
            "lightcurve": pa.StructArray.from_arrays(lists, ["hmjd", "mag"]),
        }
    )
    positions = tmp_path_factory.mktemp("positions") / "positions.npy"
    np.save(positions, [ra[::500], dec[::500]])
    return table, positions


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak")
@pytest.mark.parametrize(
    ("plan", "options"),
    [("page ranges", {"write_page_index": True}), ("pyarrow row groups", {})],
)
def test_a_partition_is_read_in_pieces(
    tmp_path: Path, partition: tuple[pa.Table, Path], plan: str, options: dict[str, bool]
) -> None:
    table, positions = partition
    folder = tmp_path / "dataset" / "Norder=2" / "Dir=0"
    folder.mkdir(parents=True)
    (tmp_path / "hats.properties").write_text("obs_collection=large\ndataproduct_type=object\n")
    (tmp_path / "partition_info.csv").write_text("Norder,Npix\n2,20\n")
    pq.write_table(
        table, folder / "Npix=20.parquet", row_group_size=N_SOURCES, use_dictionary=False, **options
    )
    run = [sys.executable, "-c", SEARCH, str(tmp_path), str(positions)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    used_plan, n_matches, grown_mib = done.stdout.strip().split(";")
    assert (used_plan, n_matches) == (plan, "100")
    assert int(grown_mib) < LIMIT_MIB
