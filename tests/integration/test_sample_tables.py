"""Tables of targets in an S3 store."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3fs import S3FileSystem

from lightloom.config import SampleConfig
from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.read import read_sample
from lightloom.sample.sources import find_tables


def test_a_table_in_a_bucket(
    tmp_path: Path, serve_s3: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    S3FileSystem.clear_instance_cache()
    table = tmp_path / "bucket" / "t.parquet"
    table.parent.mkdir()
    pq.write_table(pa.table({"ra": [10.0, 20.0], "dec": [1.0, 2.0]}), table)
    client = {"endpoint_url": serve_s3("--dir-cache-time", "0s"), "region_name": "eu-central-1"}
    options = {"anon": True, "client_kwargs": client}
    source = TableSource("table", "s3://bucket/t.parquet", "ra", "dec", storage_options=options)

    def states(source: TableSource) -> dict:
        answers = FrozenAnswers(tmp_path / "frozen", {}, (), tmp_path, tmp_path)
        found = find_tables(SampleConfig((source,), 1.0, "stop"), tmp_path / "copies", answers)
        rows = read_sample(found.sources, files=found.files).targets.num_rows
        return {"rows": rows, **found.states}

    first = states(source)
    assert first["rows"] == 2
    assert states(source) == first
    pq.write_table(pa.table({"ra": [10.0, 20.0, 30.0], "dec": [1.0, 2.0, 3.0]}), table)
    changed = states(source)
    assert changed["rows"] == 3
    assert changed["s3://bucket/t.parquet"] != first["s3://bucket/t.parquet"]
    missing = TableSource("table", "s3://bucket/u.parquet", "ra", "dec", storage_options=options)
    with pytest.raises(SampleError, match=r"u\.parquet: listed or expected, but absent"):
        states(missing)
