"""The same data on premises and in a cloud: the same bytes, and word of which copy was read."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from rclone import rclone_server
from s3_gate import Gate, serve_gate
from s3fs import S3FileSystem
from service_runs import HASTY, ServiceRun, load_spec, shard_for
from small_archives import shard_of
from small_mast import File, service_spec, write_mast

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.config import ArchiveSpec
from lightloom.config_files import load_project
from project import REPOSITORY

REGION = "us-east-1"
BUCKETS = {"survey": ".", "stpubdata": "services/mast/stpubdata"}
#: Where the run is and what it may read, and whether it reads the copy in the cloud.
RUNS = {
    "nobody says where": ("auto", "", False),
    "another region": ("auto", "eu-central-1", False),
    "the same region": ("auto", REGION, True),
    "never": ("onprem", REGION, False),
    "always": ("cloud", "", True),
}


@pytest.fixture(scope="module")
def premises(sky: Path) -> Iterator[str]:
    """The embedded sky as the files of a web server."""
    with rclone_server("http", sky) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def cloud(sky: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The embedded sky in buckets that anybody may read; of one the reader pays."""
    root = tmp_path_factory.mktemp("buckets")
    for bucket, folder in BUCKETS.items():
        (root / bucket).symlink_to(sky / folder)
    with ExitStack() as stack:
        upstream = stack.enter_context(rclone_server("s3", root, "--copy-links"))
        gate = Gate(
            upstream,
            region=REGION,
            open_buckets=frozenset({"stpubdata"}),
            paid_buckets=frozenset({"survey"}),
        )
        yield stack.enter_context(serve_gate(gate))


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, cloud: Gate) -> None:
    """The credentials of the one who pays."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.secret)
    S3FileSystem.clear_instance_cache()


def catalogue_spec(laboratory: Laboratory, premises: str, cloud: Gate) -> ArchiveSpec:
    spec = load_spec("ztf", laboratory, {})
    name = Path(spec.endpoint).name
    copy = {
        "endpoint": f"s3://survey/{name}",
        "region": REGION,
        "storage_options": {"endpoint_url": cloud.url, "requester_pays": True},
    }
    return replace(spec, endpoint=f"{premises}/{name}", copies={"aws": copy})


def files_spec(laboratory: Laboratory, premises: str, cloud: Gate) -> ArchiveSpec:
    live = load_project(REPOSITORY, [REPOSITORY / "config" / "live.yaml"], [])
    copy = live.archives["tess"].copies["aws"]
    options = {"anon": True, "endpoint_url": cloud.url}
    spec = load_spec("tess", laboratory, HASTY)
    return replace(spec, copies={"aws": copy | {"storage_options": options}})


SPECS = {"ztf": catalogue_spec, "tess": files_spec}


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("archive", SPECS)
def test_either_copy_gives_the_same_bytes(
    archive: str, sky: Path, laboratory: Laboratory, premises: str, cloud: Gate, tmp_path: Path
) -> None:
    spec = SPECS[archive](laboratory, premises, cloud)
    shard = shard_for(archive, sky, 2)
    digests = set()
    for name, (access, region, reads_copy) in RUNS.items():
        cloud.passed.clear()
        placed = replace(spec, access=access, region=region)
        run = ServiceRun(tmp_path / name, placed)
        error = run.fetch(shard)
        assert error is None
        digests.add(run.digest)
        status = run.status
        # A file of TESS that the bucket lacks comes from MAST.
        assert str(spec.places[reads_copy]) in status["places"]
        assert bool(cloud.passed) == reads_copy
        if reads_copy and archive == "ztf":
            files = [one for one in cloud.passed if ".parquet" in one.path]
            n_bytes = sum(one.n_bytes for one in files if one.method == "GET")
            assert 0 < status["reads"]["bytes"] == n_bytes
            assert status["reads"]["requests"] <= len(files)
            assert {one.payer for one in cloud.passed} == {"requester"}
        if not reads_copy:
            assert len(status["places"]) == 1
        # What a part depends on is the same.
        assert placed.settings() == spec.settings()
    assert len(digests) == 1
    assert cloud.refused == []


#: A record of where a file is, and whether MAST itself has to be asked for it.
RECORDS = {
    "in the region": ({"bucket_name": "elsewhere", "key": "a/lc.fits", "region": REGION}, False),
    "in another": ({"bucket_name": "elsewhere", "key": "a/lc.fits", "region": "us-west-2"}, True),
    "of another form": ("s3://elsewhere/a/lc.fits", True),
    "of nothing": ({"bucket_name": "elsewhere", "key": "b/lc.fits", "region": REGION}, True),
}


def test_records_say_where_files_are(serve_s3: Callable[..., str], tmp_path: Path) -> None:
    files = [
        File(100 + number, 40.0 + number, 5.0, cloud_access=json.dumps({"aws": place}))
        for number, (place, _) in enumerate(RECORDS.values())
    ]
    folder = write_mast(tmp_path / "sky" / "services" / "mast", files)
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    shutil.copy2(folder / files[0].path, tmp_path / "elsewhere" / "a" / "lc.fits")
    gate = Gate(serve_s3(), region=REGION, open_buckets=frozenset({"elsewhere", "stpubdata"}))
    with Laboratory(tmp_path / "sky") as laboratory, serve_gate(gate):
        spec = service_spec("tess", laboratory.url("mast"))
        options = {"anon": True, "endpoint_url": gate.url}
        copy = {"endpoint": "s3://stpubdata", "storage_options": options}
        archive = get_archive(replace(spec, copies={"aws": copy}, region=REGION), tmp_path)
        shard = shard_of([file.ra_deg for file in files], [5.0] * len(files))
        places = {
            list(RECORDS)[int(request.targets[0])]: archive.answer(shard, request).places
            for request in archive.plan(shard).requests
        }
    expected = {
        name: f"archive ({spec.endpoint})" if asks_mast else f"aws (s3://elsewhere, {REGION})"
        for name, (_, asks_mast) in RECORDS.items()
    }
    assert places == {name: (place,) for name, place in expected.items()}
    assert {one.path for one in gate.passed if one.n_bytes > 1000} == {"/elsewhere/a/lc.fits"}
