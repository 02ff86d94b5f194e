"""Catalogues as their own libraries write them, and the file that marks a complete one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from written_catalogs import random_table, write_hats, write_hive

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.markers import marker
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import search_partition

BASE_PIXELS = [(0, cell) for cell in range(12)]


def test_marker_of_each_layout(tmp_path: Path) -> None:
    table = random_table(np.array([10.0]), np.array([5.0]), 1)
    hats, hive = tmp_path / "hats", tmp_path / "hive"
    assert marker(str(hats), "hats") == f"{hats}/hats.properties"
    assert marker(str(hive), "hive") == f"{hive}/_metadata"
    write_hats(hats, table, BASE_PIXELS)
    write_hive(hive, table, "healpix_k5", 5)
    assert Path(marker(str(hats), "hats")).is_file()
    assert Path(marker(str(hive), "hive")).is_file()
    (hats / "hats.properties").rename(hats / "properties")
    assert marker(str(hats), "hats") == f"{hats}/properties"
    (hats / "properties").rename(hats / "collection.properties")
    assert marker(str(hats), "hats") == f"{hats}/collection.properties"


def test_marker_loads_no_reader() -> None:
    code = (
        "import sys; from lightloom.catalogs.markers import marker; marker('x', 'hats'); "
        "print(sorted({'numpy', 'pyarrow', 'fsspec', 'astropy', 'datafusion'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_partitions_ascend_on_the_sky_and_have_their_paths(tmp_path: Path) -> None:
    table = random_table(np.array([10.0]), np.array([5.0]), 1)
    pixels = [(8, 71234), (0, 11), (1, 3), (0, 1)]
    spec = write_hats(tmp_path / "hats", table, pixels, suffix="/")
    assert [tuple(partition) for partition in open_catalog(spec).partitions] == [
        (1, 3, f"{spec.endpoint}/dataset/Norder=1/Dir=0/Npix=3/"),
        (0, 1, f"{spec.endpoint}/dataset/Norder=0/Dir=0/Npix=1/"),
        (8, 71234, f"{spec.endpoint}/dataset/Norder=8/Dir=70000/Npix=71234/"),
        (0, 11, f"{spec.endpoint}/dataset/Norder=0/Dir=0/Npix=11/"),
    ]
    listed = open_catalog(spec)
    (tmp_path / "hats" / "partition_info.csv").unlink()
    assert open_catalog(spec) == listed


def test_unknown_name() -> None:
    import lightloom.catalogs

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lightloom.catalogs.nothing  # noqa: B018


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "options", [{}, {"npix_suffix": "/"}, {"row_group_kwargs": {"num_rows": 40}}]
)
def test_catalogue_written_by_lsdb(tmp_path: Path, options: dict[str, Any]) -> None:
    import lsdb
    import nested_pandas

    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(10, 11, 300), rng.uniform(-1, 1, 300)
    epochs = nested_pandas.NestedFrame(
        {"hmjd": rng.random(1200), "mag": rng.random(1200)}, index=np.repeat(np.arange(300), 4)
    )
    frame = nested_pandas.NestedFrame(
        {"objectid": np.arange(300), "objra": ra, "objdec": dec}, index=np.arange(300)
    ).join_nested(epochs, "lightcurve")
    catalog = lsdb.from_dataframe(frame, ra_column="objra", dec_column="objdec", partition_rows=100)
    catalog.write_catalog(tmp_path / "written", as_collection=False, **options)

    spec = CatalogSpec(str(tmp_path / "written"), "hats", "objra", "objdec", "objectid")
    opened = open_catalog(spec)
    assert len(opened.partitions) > 1
    searches, outside = plan_searches(opened, ra, dec, 0.5)
    found = [search_partition(spec, one, 0.5, ["objectid", "lightcurve.mag"]) for one in searches]
    rows = pa.concat_tables([result.table for result in found]).sort_by("target")
    assert not outside.any()
    assert rows["objectid"].to_pylist() == np.repeat(np.arange(300), 4).tolist()
    assert rows["target"].equals(rows["objectid"])
    assert rows["mag"].to_pylist() == epochs["mag"].tolist()
