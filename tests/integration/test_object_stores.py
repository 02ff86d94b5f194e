"""Catalogues in an S3 store."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3fs import S3FileSystem
from written_catalogs import pixel_centres, random_table, write_hats, write_hive

from lightloom.catalogs.files import CatalogFile
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.errors import ArchiveError, DamagedFileError, TransientArchiveError

PIXEL = (3, 100)
COLUMNS = ["objectid", "lightcurve.hmjd", "lightcurve.mag"]
WRITTEN: dict[str, dict[str, Any]] = {
    "page ranges": {"write_page_index": True, "data_page_size": 4096, "use_dictionary": False},
    "pyarrow row groups": {"use_dictionary": False},
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but those that a test gives, and no file system left of another test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    S3FileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small files read as large ones are."""
    monkeypatch.setattr("lightloom.catalogs.storage._TAIL_BYTES", 65_536)
    monkeypatch.setattr("lightloom.catalogs.storage._GAP_BYTES", 1024)
    monkeypatch.setattr("lightloom.catalogs.files._REMOTE_BUFFER_BYTES", 65_536)


@pytest.fixture(params=WRITTEN)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[CatalogSpec, str]:
    """A local catalogue in a folder that becomes a bucket, and the plan of its reading."""
    (centre,) = pixel_centres([PIXEL])
    ra, dec = np.random.default_rng(1).uniform(-0.05, 0.05, (2, 10_000))
    table = random_table(centre.ra_deg + ra, centre.dec_deg + dec, 1)
    options = WRITTEN[request.param]
    return write_hats(tmp_path / "bucket" / "small", table, [PIXEL], **options), request.param


def at(endpoint: str, spec: CatalogSpec, **options: Any) -> CatalogSpec:
    client = {"endpoint_url": endpoint, "region_name": "eu-central-1"}
    return replace(
        spec,
        endpoint="s3://bucket/" + Path(spec.endpoint).name,
        storage_options={"client_kwargs": client, **options},
    )


def search(spec: CatalogSpec, radius_arcsec: float = 20.0) -> SearchResult:
    (centre,) = pixel_centres([PIXEL])
    offsets = np.linspace(-0.04, 0.04, 5)
    (one,), _ = plan_searches(
        open_catalog(spec), centre.ra_deg + offsets, centre.dec_deg + offsets, radius_arcsec
    )
    return search_partition(spec, one, radius_arcsec, COLUMNS)


def assert_same(result: SearchResult, expected: SearchResult) -> None:
    assert expected.matches.num_rows > 5
    assert result.table.equals(expected.table)
    assert result.matches.equals(expected.matches)


def test_anonymous(serve_s3: Callable[..., str], written: tuple[CatalogSpec, str]) -> None:
    local, plan = written
    result = search(at(serve_s3(), local, anon=True))
    assert_same(result, search(local))
    assert result.plan == plan
    assert 5 < result.reads.requests < 80
    (path,) = Path(local.endpoint).rglob("*.parquet")
    assert result.reads.bytes < path.stat().st_size


def test_signed(
    serve_s3: Callable[..., str],
    written: tuple[CatalogSpec, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local, _ = written
    endpoint = serve_s3("--auth-key", "reader,secret")
    expected = search(local)
    assert_same(
        search(at(endpoint, local, key="reader", secret="secret", requester_pays=True)), expected
    )
    with pytest.raises(ArchiveError, match=r"s3://bucket/small/.*reading is not allowed") as wrong:
        search(at(endpoint, local, key="reader", secret="guessed"))
    with pytest.raises(ArchiveError, match=r"s3://bucket/small/.*reading is not allowed") as none:
        search(at(endpoint, local))
    assert wrong.value.error_class == none.value.error_class == "permanent"
    S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert_same(search(at(endpoint, local)), expected)


def test_absent_and_damaged(serve_s3: Callable[..., str], written: tuple[CatalogSpec, str]) -> None:
    local, _ = written
    (path,) = Path(local.endpoint).rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-1000])
    spec = at(serve_s3("--dir-cache-time", "0s"), local, anon=True)
    with pytest.raises(DamagedFileError, match=r"s3://.*Npix=100\.parquet: cannot be decoded"):
        search(spec)
    path.unlink()
    with pytest.raises(DamagedFileError, match=r"Npix=100\.parquet: listed or .* but absent"):
        search(spec)
    with pytest.raises(ArchiveError, match="s3://bucket/nothing: no HATS catalogue"):
        open_catalog(replace(spec, endpoint="s3://bucket/nothing"))


def test_an_object_that_is_replaced(
    serve_s3: Callable[..., str], written: tuple[CatalogSpec, str]
) -> None:
    local, _ = written
    spec = at(serve_s3(), local, anon=True)
    (path,) = Path(local.endpoint).rglob("*.parquet")
    remote = spec.endpoint + str(path).removeprefix(local.endpoint)
    with (
        pytest.raises(ArchiveError, match=r"Npix=100\.parquet: changed while it was read"),
        CatalogFile(remote, spec.storage_options, spec.page_mb),
    ):
        path.write_bytes(path.read_bytes()[::-1])


def test_hive_is_listed(serve_s3: Callable[..., str], tmp_path: Path) -> None:
    (centre,) = pixel_centres([PIXEL])
    ra, dec = np.random.default_rng(1).uniform(-0.05, 0.05, (2, 2000))
    table = random_table(centre.ra_deg + ra, centre.dec_deg + dec, 1, key=None)
    local = write_hive(tmp_path / "bucket" / "hive", table, "healpix_k3", 3)
    assert_same(search(at(serve_s3(), local, anon=True)), search(local))


def test_a_store_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = CatalogSpec(str(tmp_path / "small"), "hats", "ra", "dec", "id")
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    once = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(TransientArchiveError, match=r"s3://bucket/small/.* reading broke off"):
        search(at("http://127.0.0.1:9", local, anon=True, config_kwargs=once))
