"""Files are whole or absent, and equal content gives equal bytes."""

import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.errors import ResultError
from lightloom.storage import (
    ParquetSink,
    atomic_path,
    sha256_bytes,
    sha256_file,
    write_if_changed,
    write_json,
    write_table,
)

SCHEMA = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.float64())])


def rows(n_rows: int) -> pa.Table:
    return pa.table(
        {"name": [f"n{i % 7}" for i in range(n_rows)], "value": [i / 3 for i in range(n_rows)]},
        schema=SCHEMA,
    )


def write_half(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("second, but only hal")
        raise OSError("disk full")


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == sha256_bytes(content)


def test_atomic_path_replaces_only_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(OSError, match="disk full"):
        write_half(path)
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_leftover_temporary_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".file.txt.tmp").write_text("of a killed process")
    with atomic_path(tmp_path / "file.txt") as temporary:
        temporary.write_text("new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file.txt", "new")]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 95), max_size=6))
def test_bytes_do_not_depend_on_how_rows_arrive(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sink")
    table = rows(95)
    for name, borders in (("whole", [0, 95]), ("pieces", [0, *sorted(cuts), 95])):
        with ParquetSink(folder / name, SCHEMA, {"b": "2", "a": "1"}, row_group_rows=20) as sink:
            for start, stop in pairwise(borders):
                sink.write(table.slice(start, stop - start))
        assert sink.n_rows == 95
    assert (folder / "whole").read_bytes() == (folder / "pieces").read_bytes()
    metadata = pq.ParquetFile(folder / "pieces").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [20] * 4 + [
        15
    ]
    assert metadata.row_group(0).column(0).has_offset_index
    assert pq.read_table(folder / "pieces").equals(table)


def test_row_groups_can_be_given(tmp_path: Path) -> None:
    with ParquetSink(tmp_path / "t", SCHEMA, row_group_rows=20) as sink:
        sink.write(rows(25))
        sink.write_row_group(rows(30))
        sink.write_row_group(rows(2))
    metadata = pq.ParquetFile(tmp_path / "t").metadata
    assert [metadata.row_group(i).num_rows for i in range(4)] == [20, 5, 30, 2]
    assert sink.n_rows == 57


def test_footer_metadata_is_independent_of_its_order(tmp_path: Path) -> None:
    write_table(tmp_path / "1", rows(3), SCHEMA, {"a": "x", "b": "y"})
    write_table(tmp_path / "2", rows(3), SCHEMA, {"b": "y", "a": "x"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    footer = pq.read_schema(tmp_path / "1").metadata
    assert (footer[b"a"], footer[b"b"]) == (b"x", b"y")


def test_a_table_without_rows_keeps_its_schema(tmp_path: Path) -> None:
    write_table(tmp_path / "empty", SCHEMA.empty_table(), SCHEMA)
    assert pq.read_table(tmp_path / "empty").schema.equals(SCHEMA)


def test_a_wrong_table_leaves_no_file(tmp_path: Path) -> None:
    wrong = rows(3).append_column("more", pa.array([1, 2, 3]))
    with pytest.raises(ResultError, match="unknown columns"):
        write_table(tmp_path / "t", wrong, SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_json_has_sorted_keys_and_a_final_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": {"é": None}})
    text = (tmp_path / "a.json").read_text()
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")
    assert json.loads(text) == {"b": 1, "a": {"é": None}}


def test_json_refuses_numbers_that_json_has_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_write_if_changed_writes_only_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert write_if_changed(path, b"1")
    before = path.stat().st_mtime_ns
    assert not write_if_changed(path, b"1")
    assert path.stat().st_mtime_ns == before
    assert write_if_changed(path, b"2")
    assert path.read_bytes() == b"2"
