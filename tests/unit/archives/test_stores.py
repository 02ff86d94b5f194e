"""Catalogues in a store that answers late: their partitions are waited for together."""

import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cdshealpix
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_archives import ENTRY, shard_of, spec_of, write_hats

from lightloom.config import DaskConfig
from lightloom.fetch import fetch_shard
from lightloom.schema import SHARD
from small_server import SmallServer, running_server

LATE_S = 0.1


def late_range_of(path: Path, server: SmallServer) -> Any:
    """A route to a file, which counts how many requests wait at the same time."""
    content = path.read_bytes()

    def route(handler: BaseHTTPRequestHandler) -> None:
        server.work(LATE_S)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        first, last = (int(wanted[1]), int(wanted[2])) if wanted else (0, len(content) - 1)
        body = content[first : last + 1]
        handler.send_response(206 if wanted else 200)
        if wanted:
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    return route


def fetched(folder: Path, shard: Path, endpoint: str, **limits: int) -> bytes:
    folder.mkdir()
    spec = spec_of(ENTRY, endpoint=endpoint, limits={**ENTRY["limits"], **limits})
    part, status = folder / "allsky.parquet", folder / "allsky.status.json"
    fetch_shard(
        shard_path=shard,
        part_path=part,
        status_path=status,
        spec=spec,
        key={},
        dask_config=DaskConfig(),
        threads=1,
        mem_mb=1000,
        allow_partial=False,
    )
    assert json.loads(status.read_text())["targets"]["n_rows"] == [1] * 12
    return part.read_bytes()


def test_partitions_of_a_store_are_read_at_the_same_time(tmp_path: Path) -> None:
    # One target in each of twelve partitions, far from each other.
    lon, lat = cdshealpix.healpix_to_lonlat(np.arange(12, dtype=np.uint64), 0)
    ra, dec, ones = lon.deg, lat.deg, np.ones(12)
    columns = {"ra": ra, "dec": dec, "id": np.arange(12), "mjd": 58000 + ones}
    root = tmp_path / "small"
    write_hats(root, pa.table({**columns, "value": 15 * ones, "error": 0.1 * ones}))
    shard = tmp_path / "allsky.parquet"
    pq.write_table(shard_of(ra.tolist(), dec.tolist()).cast(SHARD), shard)
    expected = fetched(tmp_path / "disk", shard, str(root))
    most_at_once = {}
    for in_flight in (1, 6):
        with running_server() as server:
            for path in (path for path in root.rglob("*") if path.is_file()):
                route = late_range_of(path, server)
                name = f"/{path.relative_to(tmp_path)}"
                server.routes |= {name: route, quote(name): route}
            found = fetched(
                tmp_path / str(in_flight),
                shard,
                f"{server.url}/small",
                partitions_in_flight=in_flight,
            )
            most_at_once[in_flight] = server.most_at_once
        assert found == expected
    assert most_at_once[1] == 1
    assert 3 <= most_at_once[6] <= 6
