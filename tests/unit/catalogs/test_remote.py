"""Catalogues behind an HTTP server, which may break off or refuse."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from written_catalogs import pixel_centres, random_table, write_hats

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import search_partition
from lightloom.errors import ArchiveError, DamagedFileError, TransientArchiveError

PIXEL = (3, 100)
COLUMNS = ["objectid", "lightcurve.hmjd"]


class RangeHandler(BaseHTTPRequestHandler):
    """Serves ranges of a folder's files; ``faults`` maps a suffix to the status to answer."""

    protocol_version = "HTTP/1.1"

    def __init__(self, root: Path, faults: dict[str, int], *args: object) -> None:
        self.root, self.faults = root, faults
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def _answer(self, with_body: bool) -> None:
        path = self.root / self.path.lstrip("/").replace("%3D", "=")
        fault = next(
            (code for suffix, code in self.faults.items() if path.name.endswith(suffix)), 0
        )
        if fault or not path.is_file():
            self.send_response(fault or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(wanted[1]), int(wanted[2])) if wanted else (0, len(content) - 1)
        body = content[first : last + 1]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header(
                "Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(content)}"
            )
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def faults() -> dict[str, int]:
    return {}


@pytest.fixture
def served(tmp_path: Path, faults: dict[str, int]) -> Iterator[str]:
    """URL of the test's folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHandler, tmp_path, faults))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def catalog(tmp_path: Path) -> tuple[CatalogSpec, np.ndarray, np.ndarray]:
    """A local catalogue, and positions of targets in it."""
    (centre,) = pixel_centres([PIXEL])
    ra, dec = np.random.default_rng(1).uniform(-0.05, 0.05, (2, 500))
    table = random_table(centre.ra_deg + ra, centre.dec_deg + dec, 1)
    spec = write_hats(tmp_path / "small", table, [PIXEL], write_page_index=True)
    return spec, table["objra"].to_numpy()[::50], table["objdec"].to_numpy()[::50]


def at(url: str, spec: CatalogSpec) -> CatalogSpec:
    return CatalogSpec(f"{url}/small", "hats", spec.ra, spec.dec, spec.object_id)


def test_same_rows_as_from_disk(served: str, catalog: tuple) -> None:
    local, ra, dec = catalog
    results = []
    for spec in (local, at(served, local)):
        (one,), _ = plan_searches(open_catalog(spec), ra, dec, 20.0)
        results.append(search_partition(spec, one, 20.0, COLUMNS))
    assert results[0].table.equals(results[1].table)
    assert results[0].matches.equals(results[1].matches)
    assert 3 < results[1].reads.requests < 50


def test_an_answer_that_may_pass(served: str, catalog: tuple, faults: dict[str, int]) -> None:
    local, ra, dec = catalog
    spec = at(served, local)
    (one,), _ = plan_searches(open_catalog(spec), ra, dec, 20.0)
    faults[".parquet"] = 503
    with pytest.raises(TransientArchiveError, match=r"Npix=100\.parquet: reading broke off"):
        search_partition(spec, one, 20.0, COLUMNS)
    faults[".csv"] = 500
    with pytest.raises(TransientArchiveError, match=r"partition_info\.csv: reading broke off"):
        open_catalog(spec)


def test_a_refusal(served: str, catalog: tuple, faults: dict[str, int]) -> None:
    local, ra, dec = catalog
    spec = at(served, local)
    (one,), _ = plan_searches(open_catalog(spec), ra, dec, 20.0)
    faults[".parquet"] = 403
    with pytest.raises(ArchiveError, match=r"Npix=100\.parquet: reading is not allowed") as caught:
        search_partition(spec, one, 20.0, COLUMNS)
    assert caught.value.error_class == "permanent"


def test_absent_file_and_absent_catalogue(served: str, catalog: tuple, tmp_path: Path) -> None:
    local, ra, dec = catalog
    spec = at(served, local)
    (one,), _ = plan_searches(open_catalog(spec), ra, dec, 20.0)
    Path(one.partition.path.replace(served, str(tmp_path))).unlink()
    with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: listed or .* but absent"):
        search_partition(spec, one, 20.0, COLUMNS)
    with pytest.raises(ArchiveError, match="no HATS catalogue"):
        open_catalog(CatalogSpec(f"{served}/nothing", "hats", "ra", "dec", "id"))


def test_no_server() -> None:
    with pytest.raises(TransientArchiveError, match="reading broke off"):
        open_catalog(CatalogSpec("http://127.0.0.1:9/nothing", "hats", "ra", "dec", "id"))
