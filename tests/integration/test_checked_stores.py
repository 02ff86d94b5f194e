"""Catalogues in an S3 store that checks signature, region and payer as a real one does."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from s3_gate import Gate, serve_gate
from s3fs import S3FileSystem
from written_catalogs import pixel_centres, random_table, write_hats

from lightloom.access import Copy
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.catalogs.storage import file_version, names_in
from lightloom.errors import ArchiveError

PIXEL = (3, 100)
BUCKETS = ("free", "private", "paid")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but those that a test gives, and no file system left of another test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def local(tmp_path: Path) -> CatalogSpec:
    """A catalogue in a folder that is in each of the buckets."""
    (centre,) = pixel_centres([PIXEL])
    ra, dec = np.random.default_rng(1).uniform(-0.05, 0.05, (2, 2000))
    table = random_table(centre.ra_deg + ra, centre.dec_deg + dec, 1)
    spec = write_hats(tmp_path / "catalogues" / "small", table, [PIXEL])
    for bucket in BUCKETS:
        (tmp_path / bucket).symlink_to(tmp_path / "catalogues")
    return spec


@pytest.fixture
def gates(serve_s3: Callable[..., str]) -> Iterator[Callable[..., Gate]]:
    """Open a gate before the store."""
    upstream = serve_s3("--copy-links")
    open_buckets, paid_buckets = frozenset({"free"}), frozenset({"paid"})
    with ExitStack() as opened:
        yield lambda **options: opened.enter_context(
            serve_gate(
                Gate(upstream, open_buckets=open_buckets, paid_buckets=paid_buckets, **options)
            )
        )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's credentials, where they belong."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-reader")


def at(
    gate: Gate, local: CatalogSpec, bucket: str, region: str = "eu-central-1", **options: Any
) -> CatalogSpec:
    """The catalogue as a copy in the store."""
    options = {"endpoint_url": gate.url, **options}
    copy = Copy("aws", f"s3://{bucket}/small", region=region, storage_options=options)
    return replace(local, endpoint=copy.endpoint, storage_options=copy.options)


def search(spec: CatalogSpec) -> SearchResult:
    (centre,) = pixel_centres([PIXEL])
    offsets = np.linspace(-0.04, 0.04, 5)
    (one,), _ = plan_searches(
        open_catalog(spec), centre.ra_deg + offsets, centre.dec_deg + offsets, 60.0
    )
    return search_partition(spec, one, 60.0, ["objectid"])


def assert_refused(spec: CatalogSpec, message: str) -> None:
    with pytest.raises(ArchiveError, match=message) as refused:
        search(spec)
    # Whoever asks again is refused again.
    assert refused.value.error_class == "permanent"


def test_anybody_reads_a_free_bucket(gates: Callable[..., Gate], local: CatalogSpec) -> None:
    gate = gates()
    result = search(at(gate, local, "free", anon=True))
    assert result.matches.num_rows > 5
    assert result.table.equals(search(local).table)
    assert {one.user for one in gate.passed} == {""}
    assert gate.refused == []
    message = r"s3://private/small/.*: reading is not allowed \(.*\); asked anonymously, without"
    assert_refused(at(gate, local, "private", anon=True), message)


@pytest.mark.usefixtures("known")
def test_who_pays_says_so(gates: Callable[..., Gate], local: CatalogSpec) -> None:
    gate = gates()
    paid = at(gate, local, "paid", requester_pays=True)
    result = search(paid)
    assert result.table.equals(search(local).table)
    assert {(one.user, one.payer) for one in gate.passed} == {("reader", "requester")}
    assert gate.refused == []
    # Every request is in the account, and every byte: none is read that nobody knows of.
    files = [one for one in gate.passed if one.path.endswith(".parquet")]
    assert len(files) == result.reads.requests
    assert sum(one.n_bytes for one in files if one.method == "GET") == result.reads.bytes
    (path,) = {one.path for one in files}
    assert file_version(f"s3:/{unquote(path)}", paid.storage_options)["size"] > 0
    message = (
        "s3://paid/small/.*: reading is not allowed .*asked with credentials, without requester"
    )
    assert_refused(at(gate, local, "paid"), message)


@pytest.mark.usefixtures("known")
def test_another_region(gates: Callable[..., Gate], local: CatalogSpec) -> None:
    # A store that tells its region is asked there, at the cost of refusals.
    telling = gates()
    elsewhere = at(telling, local, "private", "us-west-2")
    assert search(elsewhere).table.equals(search(local).table)
    assert {code for _, _, code in telling.refused} == {"AuthorizationHeaderMalformed"}
    silent = at(gates(tells_region=False), local, "private", "us-west-2")
    # The answer to HEAD, which comes first, does not tell the reason.
    assert_refused(silent, r"refused \(400\): .* or another region; .* for region us-west-2")


def test_credentials_that_are_wrong_or_old(
    gates: Callable[..., Gate],
    local: CatalogSpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    gate = gates(token="session-of-today")
    given = {
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-reader",
        "AWS_SESSION_TOKEN": "session-of-yesterday",
    }
    messages = []
    for changes, at_head, at_get in (
        ({}, r"\(400\): credentials that have expired", r"have expired \(ExpiredToken\)"),
        ({"AWS_SESSION_TOKEN": "session-of-today"}, "", ""),
        ({"AWS_SECRET_ACCESS_KEY": "another-secret"}, "not allowed", "signature does not match"),
        ({"AWS_ACCESS_KEY_ID": "stranger"}, "not allowed", "access key id does not exist"),
    ):
        S3FileSystem.clear_instance_cache()
        given |= changes
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        spec = at(gate, local, "private")
        if not at_head:
            assert search(spec).table.equals(search(local).table)
            continue
        with pytest.raises(ArchiveError, match=at_head) as refused:
            search(spec)
        messages.append(str(refused.value))
        with pytest.raises(ArchiveError, match=at_get) as refused:
            names_in(f"{spec.endpoint}/dataset", spec.storage_options)
        messages.append(str(refused.value))
    told = "\n".join([*messages, caplog.text])
    assert not any(secret in told for secret in ("secret-of", "another-secret", "session-of"))
