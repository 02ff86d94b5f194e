"""Catalogues as their own libraries write them, and the file that marks a complete one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_catalogs import random_table, write_hats, write_hive

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.markers import marker
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import search_partition
from other_python import python_with

PAGES, ROW_GROUPS = "page ranges", "pyarrow row groups"
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
        "print(sorted({'numpy', 'pyarrow', 'fsspec', 'astropy'} & set(sys.modules)))"
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


#: Options of ``write_catalog``, and the reader that such files get.
LSDB_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "collection": ({"as_collection": True}, PAGES),
    "folders": ({"npix_suffix": "/"}, PAGES),
    "named files": ({"npix_suffix": "/", "npix_parquet_name": "data.parquet"}, PAGES),
    "row groups": ({"row_group_kwargs": {"num_rows": 40}, "create_parquet_metadata": False}, PAGES),
    "tiles": ({"row_group_kwargs": {"subtile_order_delta": 1}}, PAGES),
    "no page index": (
        {"write_table_kwargs": {"write_page_index": False, "compression": "snappy"}},
        ROW_GROUPS,
    ),
}


@pytest.fixture(scope="module")
def lsdb_catalog() -> tuple[Any, np.ndarray, np.ndarray, list[float]]:
    """A catalogue with a margin in memory, positions of its sources and all magnitudes."""
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
    catalog = lsdb.from_dataframe(
        frame, ra_column="objra", dec_column="objdec", partition_rows=100, margin_threshold=30
    )
    return catalog, ra, dec, epochs["mag"].tolist()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", LSDB_OPTIONS)
def test_catalogue_written_by_lsdb(tmp_path: Path, name: str, lsdb_catalog: tuple) -> None:
    catalog, ra, dec, mags = lsdb_catalog
    options, plan = LSDB_OPTIONS[name]
    catalog.write_catalog(tmp_path / "written", **({"as_collection": False} | options))
    spec = CatalogSpec(str(tmp_path / "written"), "hats", "objra", "objdec", "objectid")
    rows = light_curves_of_all(spec, ra, dec, plan)
    assert rows["mag"].to_pylist() == mags


def light_curves_of_all(spec: CatalogSpec, ra: np.ndarray, dec: np.ndarray, plan: str) -> pa.Table:
    """Search for every source of a catalogue whose ids count its sources, four epochs each."""
    opened = open_catalog(spec)
    assert len(opened.partitions) > 1
    searches, outside = plan_searches(opened, ra, dec, 0.5)
    found = [search_partition(spec, one, 0.5, ["objectid", "lightcurve.mag"]) for one in searches]
    rows = pa.concat_tables([result.table for result in found]).sort_by("target")
    assert not outside.any()
    assert {result.plan for result in found} == {plan}
    assert rows["objectid"].to_pylist() == np.repeat(np.arange(len(ra)), 4).tolist()
    assert rows["target"].equals(rows["objectid"])
    return rows


#: Options of ``ImportArguments``, and the reader that such files get.
HATS_IMPORT_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "defaults": ({}, PAGES),
    "folders-without-key": (
        {"npix_suffix": "/", "row_group_kwargs": {"num_rows": 40}, "add_healpix_29": False},
        PAGES,
    ),
    "named-files": ({"npix_suffix": "/", "npix_parquet_name": "data.parquet"}, PAGES),
    "tiles-without-metadata": (
        {"row_group_kwargs": {"subtile_order_delta": 1}, "create_metadata": False},
        PAGES,
    ),
    "no-page-index": (
        {"write_table_kwargs": {"write_page_index": False, "compression": "snappy"}},
        ROW_GROUPS,
    ),
}

#: hats-import does not resolve together with the project's packages.
IMPORT_CATALOGUES = """
import json, sys
from dask.distributed import Client
from hats_import.catalog.arguments import ImportArguments
from hats_import.pipeline import pipeline_with_client
if __name__ == "__main__":
    with Client(processes=False, threads_per_worker=1, dashboard_address=":0") as client:
        for arguments in json.loads(sys.argv[1]):
            pipeline_with_client(ImportArguments(**arguments), client)
"""


@pytest.fixture(scope="module")
def imported_catalogs(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, np.ndarray, np.ndarray, list[float]]:
    """A folder with a catalogue for each of the options, positions and all magnitudes."""
    python = python_with("hats-import", "hats_import")
    folder = tmp_path_factory.mktemp("imported")
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(10, 11, 300), rng.uniform(-1, 1, 300)
    mags = rng.random(1200)
    offsets = pa.array(np.arange(0, 1201, 4), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(mags))
    light_curves = pa.StructArray.from_arrays([lists, lists], ["hmjd", "mag"])
    columns = {"objectid": np.arange(300), "objra": ra, "objdec": dec, "lightcurve": light_curves}
    pq.write_table(pa.table(columns), folder / "source.parquet")
    arguments = [
        {
            "output_path": str(folder),
            "output_artifact_name": name,
            "input_file_list": [str(folder / "source.parquet")],
            "file_reader": "parquet",
            "ra_column": "objra",
            "dec_column": "objdec",
            "pixel_threshold": 100,
            "progress_bar": False,
            **options,
        }
        for name, (options, _) in HATS_IMPORT_OPTIONS.items()
    ]
    command = [python, "-c", IMPORT_CATALOGUES, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, ra, dec, mags.tolist()


@pytest.mark.parametrize("name", HATS_IMPORT_OPTIONS)
def test_catalogue_written_by_hats_import(name: str, imported_catalogs: tuple) -> None:
    folder, ra, dec, mags = imported_catalogs
    spec = CatalogSpec(str(folder / name), "hats", "objra", "objdec", "objectid")
    rows = light_curves_of_all(spec, ra, dec, HATS_IMPORT_OPTIONS[name][1])
    assert rows["mag"].to_pylist() == mags


def test_catalogue_with_the_columns_of_older_importers(tmp_path: Path) -> None:
    table = random_table(np.array([10.0, 10.1]), np.array([5.0, 5.1]), 1, key="_hipscat_index")
    for name, type_ in (("Norder", pa.uint8()), ("Dir", pa.uint64()), ("Npix", pa.uint64())):
        table = table.append_column(name, pa.array([0, 0], type_))
    for page_index in (True, False):
        spec = write_hats(
            tmp_path / f"{page_index}", table, BASE_PIXELS, write_page_index=page_index
        )
        (tmp_path / f"{page_index}" / "hats.properties").rename(
            tmp_path / f"{page_index}" / "properties"
        )
        (one,), _ = plan_searches(open_catalog(spec), [10.0], [5.0], 1.0)
        found = search_partition(spec, one, 1.0, ["objectid", "filterid", "Npix"])
        assert found.table["objectid"].to_pylist() == table["objectid"].to_pylist()[:1]
