"""Catalogues behind an HTTP server, which may break off or refuse."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tenacity import wait_none
from written_catalogs import pixel_centres, random_table, write_hats

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.errors import ArchiveError, DamagedFileError, TransientArchiveError

PIXEL = (3, 100)
COLUMNS = ["objectid", "lightcurve.hmjd"]


@dataclass
class Faults:
    """What a server does wrong, and what it was asked.

    Attributes
    ----------
    status : dict
        Status to answer with, by the suffix of the path.
    cut_every : int
        Of the answers with a range, each so-manieth ends in the middle of its body.
    short_by : int
        Bytes by which answers with a range are too short, as their headers say too.
    before : callable
        Called with each request's number before it is answered.
    """

    status: dict[str, int] = field(default_factory=dict)
    cut_every: int = 0
    short_by: int = 0
    before: Callable[[int], None] = lambda number: None
    methods: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    n_ranges: int = 0


class RangeHandler(BaseHTTPRequestHandler):
    """Serves ranges of a folder's files."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    lock = threading.Lock()

    def __init__(self, root: Path, faults: Faults, *args: object) -> None:
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
        with self.lock:
            if path.suffix == ".parquet":
                self.faults.methods.append(self.command)
                self.faults.before(len(self.faults.methods))
        status = next(
            (code for end, code in self.faults.status.items() if path.name.endswith(end)), 0
        )
        if status or not path.is_file():
            self.send_response(status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(wanted[1]), int(wanted[2])) if wanted else (0, len(content) - 1)
        body = content[first : last + 1]
        self.send_response(206 if wanted else 200)
        if wanted:
            body = body[: len(body) - self.faults.short_by]
            span = f"{first}-{first + len(body) - 1}"
            self.send_header("Content-Range", f"bytes {span}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self._send(body, cut=bool(wanted) and self._is_cut())

    def _is_cut(self) -> bool:
        with self.lock:
            self.faults.n_ranges += 1
            return self.faults.cut_every > 0 and self.faults.n_ranges % self.faults.cut_every == 0

    def _send(self, body: bytes, cut: bool) -> None:
        if cut:
            body = body[: len(body) // 2]
            self.close_connection = True
        elif self.path.endswith(".parquet"):
            with self.lock:
                self.faults.sent_bytes += len(body)
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    #: Connections that wait to be accepted; one too many is tried again only after a second.
    request_queue_size = 64


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def served(tmp_path: Path, faults: Faults) -> Iterator[str]:
    """URL of the test's folder."""
    server = Server(("127.0.0.1", 0), partial(RangeHandler, tmp_path, faults))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


#: Written with small pages, and as archives that know nothing of pages write.
WRITTEN: dict[str, dict[str, Any]] = {
    "page ranges": {
        "write_page_index": True, "data_page_size": 4096, "write_batch_size": 64,
        "row_group_size": 1000, "use_dictionary": False,
    },
    "pyarrow row groups": {"row_group_size": 1000},
}  # fmt: skip


@pytest.fixture(params=WRITTEN)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> tuple:
    """A local catalogue, and positions of targets in it."""
    (centre,) = pixel_centres([PIXEL])
    ra, dec = np.random.default_rng(1).uniform(-0.05, 0.05, (2, 5000))
    table = random_table(centre.ra_deg + ra, centre.dec_deg + dec, 1)
    spec = write_hats(tmp_path / "small", table, [PIXEL], **WRITTEN[request.param])
    return spec, table["objra"].to_numpy()[::1250], table["objdec"].to_numpy()[::1250]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightloom.catalogs.storage._RETRYING.wait", wait_none())


@pytest.fixture
def nothing_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by small requests what would come by one."""
    monkeypatch.setattr("lightloom.catalogs.storage._TAIL_BYTES", 2000)
    monkeypatch.setattr("lightloom.catalogs.storage._GAP_BYTES", 0)
    monkeypatch.setattr("lightloom.catalogs.files._REMOTE_BUFFER_BYTES", 2000)


def at(url: str, spec: CatalogSpec) -> CatalogSpec:
    return replace(spec, endpoint=f"{url}/small")


def search(spec: CatalogSpec, ra: np.ndarray, dec: np.ndarray) -> SearchResult:
    (one,), _ = plan_searches(open_catalog(spec), ra, dec, 2.0)
    return search_partition(spec, one, 2.0, COLUMNS)


def assert_same(result: SearchResult, expected: SearchResult) -> None:
    assert expected.matches.num_rows > 3
    assert result.table.equals(expected.table)
    assert result.matches.equals(expected.matches)


@pytest.mark.usefixtures("nothing_ahead")
def test_same_rows_as_from_disk_and_a_true_account(
    served: str, catalog: tuple, faults: Faults
) -> None:
    local, ra, dec = catalog
    result = search(at(served, local), ra, dec)
    assert_same(result, search(local, ra, dec))
    assert result.plan in WRITTEN
    assert result.reads.requests == len(faults.methods)
    assert result.reads.bytes == faults.sent_bytes


def test_a_small_file_is_read_whole(served: str, catalog: tuple, faults: Faults) -> None:
    local, ra, dec = catalog
    assert_same(search(at(served, local), ra, dec), search(local, ra, dec))
    assert faults.methods == ["HEAD", "GET", "HEAD"]


def test_few_requests_and_only_pages_with_matches(
    served: str, catalog: tuple, faults: Faults, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local, ra, dec = catalog
    monkeypatch.setattr("lightloom.catalogs.storage._TAIL_BYTES", 65_536)
    monkeypatch.setattr("lightloom.catalogs.storage._GAP_BYTES", 1000)
    result = search(at(served, local), ra[:1], dec[:1])
    (path,) = (tmp_path / "small").rglob("*.parquet")
    # Each column has one page with the match, the key two at most.
    if result.plan == "page ranges":
        assert faults.methods.count("HEAD") == 2
        assert len(faults.methods) < 20
        assert faults.sent_bytes < 65_536 + 0.1 * path.stat().st_size
    assert faults.sent_bytes < 65_536 + 0.4 * path.stat().st_size


@pytest.mark.usefixtures("nothing_ahead")
@pytest.mark.parametrize("cut_every", [5, 20])
def test_cut_ranges_are_read_again(
    served: str, catalog: tuple, faults: Faults, cut_every: int
) -> None:
    local, ra, dec = catalog
    faults.cut_every = cut_every
    result = search(at(served, local), ra, dec)
    assert_same(result, search(local, ra, dec))
    assert faults.n_ranges > cut_every
    assert result.reads.requests == len(faults.methods)
    assert result.reads.bytes == faults.sent_bytes


@pytest.mark.usefixtures("nothing_ahead")
def test_a_server_that_cuts_every_range(served: str, catalog: tuple, faults: Faults) -> None:
    local, ra, dec = catalog
    faults.cut_every = 1
    with pytest.raises(TransientArchiveError, match=r"Npix=100\.parquet: reading broke off"):
        search(at(served, local), ra, dec)


@pytest.mark.usefixtures("nothing_ahead")
def test_answers_of_wrong_length(served: str, catalog: tuple, faults: Faults) -> None:
    local, ra, dec = catalog
    faults.short_by = 1
    with pytest.raises(
        TransientArchiveError, match=r"Npix=100\.parquet: .*1999 bytes came for the range"
    ):
        search(at(served, local), ra, dec)


@pytest.mark.usefixtures("nothing_ahead")
@pytest.mark.parametrize("at_request", [3, 8])
@pytest.mark.parametrize("change", ["rewritten", "longer", "shorter"])
def test_a_file_that_changes_during_the_search(
    served: str, catalog: tuple, faults: Faults, at_request: int, change: str, tmp_path: Path
) -> None:
    local, ra, dec = catalog
    (path,) = (tmp_path / "small").rglob("*.parquet")
    content = path.read_bytes()
    changed = {
        "rewritten": content[::-1],
        "longer": b"PAR1" + content,
        "shorter": content[: len(content) // 2],
    }[change]

    def replace_file(number: int) -> None:
        if number == at_request:
            path.write_bytes(changed)

    faults.before = replace_file
    with pytest.raises(
        ArchiveError, match=r"Npix=100\.parquet: changed while it was read, found .*ETag"
    ) as caught:
        search(at(served, local), ra, dec)
    assert caught.value.error_class == "permanent"


def test_an_answer_that_may_pass(served: str, catalog: tuple, faults: Faults) -> None:
    local, ra, dec = catalog
    spec = at(served, local)
    (one,), _ = plan_searches(open_catalog(spec), ra, dec, 20.0)
    faults.status[".parquet"] = 503
    with pytest.raises(TransientArchiveError, match=r"Npix=100\.parquet: reading broke off"):
        search_partition(spec, one, 20.0, COLUMNS)
    faults.status[".csv"] = 500
    with pytest.raises(TransientArchiveError, match=r"partition_info\.csv: reading broke off"):
        open_catalog(spec)


def test_a_refusal(served: str, catalog: tuple, faults: Faults) -> None:
    local, ra, dec = catalog
    spec = at(served, local)
    (one,), _ = plan_searches(open_catalog(spec), ra, dec, 20.0)
    faults.status[".parquet"] = 403
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


@pytest.mark.usefixtures("nothing_ahead")
@pytest.mark.parametrize("column", ["_healpix_29", "objra", "lightcurve.hmjd.list.element"])
def test_torn_pages(served: str, catalog: tuple, tmp_path: Path, column: str) -> None:
    local, ra, dec = catalog
    (path,) = (tmp_path / "small").rglob("*.parquet")
    content = bytearray(path.read_bytes())
    metadata = pq.read_metadata(path)
    for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
        (chunk,) = (
            group.column(number)
            for number in range(group.num_columns)
            if group.column(number).path_in_schema == column
        )
        stored = slice(chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size)
        content[stored] = b"\xa5" * chunk.total_compressed_size
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: cannot be decoded"):
        search(at(served, local), ra, dec)


def test_torn_page_index(served: str, catalog: tuple, tmp_path: Path) -> None:
    local, ra, dec = catalog
    expected = search(local, ra, dec)
    (path,) = (tmp_path / "small").rglob("*.parquet")
    content = bytearray(path.read_bytes())
    metadata = pq.read_metadata(path)
    last = metadata.row_group(metadata.num_row_groups - 1)
    pages_end = max(
        chunk.data_page_offset + chunk.total_compressed_size
        for chunk in (last.column(number) for number in range(last.num_columns))
    )
    footer_start = len(content) - 8 - metadata.serialized_size
    content[pages_end:footer_start] = b"\xa5" * (footer_start - pages_end)
    path.write_bytes(content)
    for spec in (local, at(served, local)):
        if expected.plan == "pyarrow row groups":
            assert_same(search(spec, ra, dec), expected)
        else:
            with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: cannot be decoded"):
                search(spec, ra, dec)


def test_no_server() -> None:
    with pytest.raises(TransientArchiveError, match="reading broke off"):
        open_catalog(CatalogSpec("http://127.0.0.1:9/nothing", "hats", "ra", "dec", "id"))


@pytest.mark.parametrize("endpoint", ["nothing://archive/small", "http://[/small"])
def test_an_address_that_nothing_reads(endpoint: str) -> None:
    with pytest.raises(ArchiveError, match="no file system reads this address") as caught:
        open_catalog(CatalogSpec(endpoint, "hats", "ra", "dec", "id"))
    assert caught.value.error_class == "permanent"
