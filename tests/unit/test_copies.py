"""Which of the places with an archive's data is read."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lightloom.access import Copy, choose_copy, published_copies, run_region
from lightloom.config import ArchiveSpec
from lightloom.config_files import load_project
from lightloom.errors import ArchiveSchemaError, ConfigError
from project import REPOSITORY

WEB = Copy("archive", "https://archive.example/data")
EAST = Copy("east", "s3://east/data", region="us-east-1")
WEST = Copy("west", "s3://west/data", region="us-west-2")
LOCAL = Copy("mirror", "/data/mirror")
BUCKET_BY_WEB = Copy("web", "https://west.s3.us-west-2.amazonaws.com/data", region="us-west-2")


@pytest.mark.parametrize(
    ("places", "access", "region", "chosen"),
    [
        ([WEB, EAST, WEST], "auto", "", WEB),
        ([WEB, EAST, WEST], "auto", "us-west-2", WEST),
        ([WEB, EAST, WEST], "auto", "eu-central-1", WEB),
        ([EAST, WEB], "auto", "", EAST),
        ([EAST, WEST], "auto", "us-west-2", WEST),
        ([WEB, LOCAL, EAST], "auto", "", LOCAL),
        ([WEB, EAST, WEST], "cloud", "", EAST),
        ([WEB, EAST, WEST], "cloud", "us-west-2", WEST),
        ([WEB, LOCAL], "cloud", "us-west-2", LOCAL),
        ([WEB], "cloud", "us-west-2", WEB),
        ([EAST, WEB], "onprem", "us-east-1", WEB),
        ([EAST, WEB, LOCAL], "onprem", "us-east-1", LOCAL),
        ([EAST, WEST], "onprem", "us-east-1", None),
        ([BUCKET_BY_WEB], "onprem", "us-west-2", None),
        ([WEB, BUCKET_BY_WEB], "cloud", "", BUCKET_BY_WEB),
    ],
)
def test_choice(places: list[Copy], access: str, region: str, chosen: Copy | None) -> None:
    assert choose_copy(places, access, region) == chosen


def configured(*settings: str, overlay: dict[str, Any], tmp_path: Path) -> dict[str, ArchiveSpec]:
    path = tmp_path / "overlay.json"
    path.write_text(json.dumps(overlay))
    live = REPOSITORY / "config" / "live.yaml"
    return load_project(REPOSITORY, [live, path], settings).archives


def test_copies_of_a_catalogue(tmp_path: Path) -> None:
    copy = {"endpoint": "https://mirror.example/ztf", "storage_options": {"block_size": 1}}
    archives = {"ztf": {"copies": {"mirror": copy}, "access": "onprem"}}
    spec = configured(overlay={"archives": archives}, tmp_path=tmp_path)["ztf"]
    assert spec.endpoints == ["https://mirror.example/ztf"]
    assert spec.place.options == {"block_size": 1}
    assert str(spec.place) == "mirror (https://mirror.example/ztf)"
    before = configured(overlay={}, tmp_path=tmp_path)["ztf"]
    assert before.place.in_cloud
    assert before.settings() == spec.settings()


def test_another_release_is_other_data(tmp_path: Path) -> None:
    copy = {"endpoint": "s3://bucket/dr25", "region": "us-west-2", "release": "DR25"}
    overlay = {"archives": {"ztf": {"copies": {"aws": copy}}}}
    near = configured("access_region=us-west-2", overlay=overlay, tmp_path=tmp_path)["ztf"]
    far = configured("access_region=us-east-2", overlay=overlay, tmp_path=tmp_path)["ztf"]
    assert (near.release, far.release) == ("DR25", "DR24")
    assert near.settings() != far.settings()
    assert near.place.options == {"client_kwargs": {"region_name": "us-west-2"}}


def test_copies_of_detections_lie_with_them(tmp_path: Path) -> None:
    copy = {"endpoint": "https://mirror.example/otmo", "detections": "https://mirror.example/det"}
    archives = {"panstarrs": {"copies": {"mirror": copy}, "access": "onprem"}}
    spec = configured(overlay={"archives": archives}, tmp_path=tmp_path)["panstarrs"]
    assert [root for root, _ in spec.catalogues(spec.place)] == list(copy.values())


@pytest.mark.parametrize(
    ("archive", "options", "message"),
    [
        (
            "ztf",
            {"access": "onprem"},
            r"archives\.ztf\.access: found 'onprem', but the data are in a cloud alone: archive"
            r" \(s3://ipac-irsa-ztf/.*\); expected 'auto' or 'cloud'",
        ),
        (
            "ztf",
            {"copies": {"aws": {"region": "x"}}},
            r"archives\.ztf\.copies\.aws\.endpoint: missing, found only the keys: region",
        ),
        (
            "panstarrs",
            {"copies": {"aws": {"endpoint": "s3://bucket/otmo"}}},
            r"archives\.panstarrs\.copies\.aws\.detections: missing, but the archive has a",
        ),
        (
            "neowise",
            {"copies": {"aws": {"endpoint": "s3://bucket/x"}}},
            r"archives\.neowise\.copies\.aws\.endpoint: .*expected \{subset\} in it",
        ),
        (
            "ztf",
            {"access": "near"},
            r"archives\.ztf\.access: .*one of auto, cloud, onprem",
        ),
    ],
)
def test_wrong_copies_are_named(
    archive: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(overlay={"archives": {archive: options}}, tmp_path=tmp_path)


PLACE = {"bucket_name": "stpubdata", "key": "tess/x.fits", "region": "us-east-1"}
KNOWN = Copy(
    "aws", "s3://stpubdata", storage_options={"endpoint_url": "http://x", "requester_pays": True}
)


@pytest.mark.parametrize(
    "record",
    [
        {"aws": PLACE},
        json.dumps({"aws": [PLACE]}),
        {"aws": {"bucket": "stpubdata", "path": "/tess/x.fits", "region": "us-east-1"}},
        {"aws": {**PLACE, "access": "open"}, "other": {"container": "y"}},
    ],
)
def test_record_of_a_copy(record: Any) -> None:
    (copy,) = published_copies(record, [])
    assert (copy.endpoint, copy.region) == ("s3://stpubdata/tess/x.fits", "us-east-1")
    assert copy.options == {"anon": True, "client_kwargs": {"region_name": "us-east-1"}}
    assert str(copy) == "aws (s3://stpubdata, us-east-1)"
    (known,) = published_copies(record, [KNOWN])
    assert known.storage_options == KNOWN.storage_options


def test_nobody_pays_for_what_a_record_names() -> None:
    (copy,) = published_copies({"aws": PLACE | {"bucket_name": "another"}}, [KNOWN])
    assert copy.storage_options == {"endpoint_url": "http://x"}


@pytest.mark.parametrize("record", [None, "", "null", "{}", {"aws": PLACE | {"access": "region"}}])
def test_record_without_a_copy_for_everybody(record: Any) -> None:
    assert published_copies(record, []) == []


@pytest.mark.parametrize("record", ["{", "[1]", '{"aws": {"key": "x"}}', '{"aws": "s3://x"}', "7"])
def test_record_of_another_form_is_shown(record: str) -> None:
    with pytest.raises(ArchiveSchemaError, match=r"column 'cloud_access' is .*expected JSON such"):
        published_copies(record, [])


def test_region_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert run_region("") == ""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert run_region("") == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert run_region("") == "us-west-2"
    assert run_region("eu-central-1") == "eu-central-1"


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The metadata service of an instance; what it was asked."""
    asked: list[str] = []

    class Metadata(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._reply(b"token")

        def do_GET(self) -> None:
            known = self.headers["x-aws-ec2-metadata-token"] == "token"
            self._reply(b"us-west-2b" if known else b"")

        def _reply(self, text: bytes) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield asked
        server.shutdown()
        thread.join()


def test_an_instance_is_asked_on_request_alone(
    instance: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    assert run_region("") == "us-east-1"
    assert instance == []
    assert run_region("metadata") == "us-west-2"
    assert instance == ["/latest/api/token", "/latest/meta-data/placement/availability-zone/"]


def test_a_machine_without_metadata_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(
        ConfigError, match="access_region: found 'metadata', but this machine has no"
    ):
        run_region("metadata")


def test_places_travel_with_the_spec(tmp_path: Path) -> None:
    copy = {"endpoint": "mirror/tess", "region": ""}
    overlay = {"archives": {"tess": {"copies": {"aws": copy}}}}
    spec = configured(overlay=overlay, tmp_path=tmp_path)["tess"]
    located = spec.located(tmp_path)
    assert located.places[1].endpoint == str(tmp_path / "mirror/tess")
    assert located.place == located.places[1]
    assert ArchiveSpec.from_dict(json.loads(json.dumps(located.as_dict()))) == located
    assert replace(spec, access="onprem").endpoints == ["https://mast.stsci.edu"]
