"""The benchmark runs, its methods find the same rows, and its minimum is one."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from kinds import KINDS
from parquet_pages import ParquetPages

from lightloom.sky import ztf
from lightloom.sky.dense import DenseSize, Layout, build_dense

HERE = Path(__file__).parent

#: One of each side is enough to see that the rows agree: LSDB takes seconds to start.
METHODS = ("workflow", "reference")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    output = tmp_path_factory.mktemp("benchmark")
    size = "--objects 2000 --epochs 10 --visits 2 --partitions 2 --targets 20"
    which = f"--layouts paged --methods {' '.join(METHODS)}"
    command = [sys.executable, HERE / "reader.py", *size.split(), *which.split()]
    subprocess.run([*command, "--output", output], check=True)
    return json.loads((output / "reader.json").read_text())


def test_methods_find_the_same_rows(report: dict) -> None:
    assert [case["kind"] for case in report["cases"]] == list(KINDS)
    for case in report["cases"]:
        assert [run["method"] for run in case["runs"]] == list(METHODS)
        assert case["agree"]
        assert len({run["compared"]["key_sum"] for run in case["runs"]}) == 1
        assert case["runs"][0]["compared"]["rows"] > 0


def test_nobody_reads_less_than_the_minimum(report: dict) -> None:
    for case in report["cases"]:
        assert case["bytes_over_minimum"]["workflow"] >= 1


def test_ratios_are_of_rival_over_ours(report: dict) -> None:
    for case in report["cases"]:
        took = {run["method"]: run for run in case["runs"]}
        ratio = case["ratios"]["workflow"]["reference"]["cpu_s"]
        assert ratio == took["reference"]["cpu_s"] / took["workflow"]["cpu_s"]


@pytest.mark.parametrize("layout", list(Layout))
def test_pages_fill_the_column_chunks(layout: Layout, tmp_path: Path) -> None:
    size = DenseSize(n_objects=4000, mean_epochs=5, n_visits=1, n_partitions=1)
    build_dense(tmp_path, size, layout, row_group_rows=1500, seed=1)
    path = next((tmp_path / ztf.CATALOGUE).rglob("Npix=*/part0.snappy.parquet"))
    metadata = pq.read_metadata(path)
    with ParquetPages(path) as pages:
        assert sum(pages.row_group_rows) == metadata.num_rows
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(index)
                found = pages.chunk(group, chunk.path_in_schema)
                assert found.sizes.sum() + found.dictionary_bytes == chunk.total_compressed_size
                assert found.is_indexed == chunk.has_offset_index
                expected = (
                    metadata.row_group(group).num_rows if found.is_indexed else chunk.num_values
                )
                assert found.first[-1] == expected


def test_pages_without_an_index_are_read_from_the_start(tmp_path: Path) -> None:
    size = DenseSize(n_objects=40_000, mean_epochs=5, n_visits=1, n_partitions=1)
    for layout in Layout:
        build_dense(tmp_path / layout, size, layout, row_group_rows=40_000, seed=1)
    last_page = {}
    for layout in Layout:
        with ParquetPages(
            next((tmp_path / layout / ztf.CATALOGUE).rglob("Npix=*/part0*"))
        ) as pages:
            chunk = pages.chunk(0, "lightcurve.hmjd")
            last = chunk.holding(chunk.first[-1:] - 1)
            last_page[layout] = chunk.bytes_of(last) / chunk.sizes.sum()
    assert last_page[Layout.PAGED] < 0.1
    assert last_page[Layout.LEGACY] >= 1.0
