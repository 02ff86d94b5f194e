"""Alerts as partitioned Parquet, as HATS and as packets, in folders and in an S3 store."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import lsdb
import pyarrow.parquet as pq
import pytest
from moving_search import Search, states, write_moving_sky
from rclone import rclone_server
from s3fs import S3FileSystem

from laboratory import Laboratory
from lightloom.errors import ArchiveError, DamagedFileError
from lightloom.moving.alert_folder import AlertFolder
from lightloom.moving.windows import Window
from lightloom.sky.moving.packets import write_packets

USER, SECRET = "reader", "only-for-the-reader"
RANGE = Window("two months", 58484.0, 58543.0)
#: How the alerts lie in the bucket; `month` is how the embedded sky has them.
LAYOUTS = {
    "month": "sky/moving/alerts.parquet",
    "hats": "hats",
    "collection": "collection",
    "packets": "packets",
}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same alerts in every layout, in a folder that is a bucket of the store."""
    folder = tmp_path_factory.mktemp("store") / "bucket"
    write_moving_sky(folder / "sky")
    alerts = pq.read_table(folder / LAYOUTS["month"]).to_pandas().drop(columns="month")
    positions = alerts.drop(columns="_healpix_29")
    catalog = lsdb.from_dataframe(
        positions, ra_column="ra", dec_column="dec", partition_rows=5000, margin_threshold=None
    )
    catalog.write_catalog(folder / "hats", catalog_name="alerts", as_collection=False)
    catalog.write_catalog(folder / "collection", catalog_name="alerts", as_collection=True)
    # A margin has rows of the other partitions.
    shutil.copytree(folder / "collection" / "alerts", folder / "collection" / "alerts_3600arcs")
    # What importers of catalogues leave beside the rows: some of them again.
    sample = pq.read_table(next((folder / "hats" / "dataset").rglob("Npix=*.parquet")))
    pq.write_table(sample.slice(0, 5), folder / "hats" / "dataset" / "data_thumbnail.parquet")
    # Packets of all alerts would take long to read one by one: some that match, some that do not.
    mjd = alerts["jd"] - 2400000.5
    inside = alerts[(mjd > RANGE.start_mjd - 1) & (mjd < RANGE.stop_mjd + 1)]
    truth = pq.read_table(folder / "sky" / "moving" / "truth" / "matches.parquet").to_pandas()
    wanted = truth["candid"][truth["designation"].isin(["46P", "2I", "1"])]
    chosen = inside[inside["candid"].isin(wanted) | (inside.index % 10 == 0)]
    write_packets(folder / "packets", chosen.assign(_healpix_29=0))
    return folder


@pytest.fixture(scope="module")
def servers(bucket: Path) -> Iterator[tuple[Laboratory, str]]:
    """Horizons of this sky, and an S3 store that knows one user."""
    with (
        Laboratory(bucket / "sky") as laboratory,
        rclone_server(
            "s3", bucket.parent, "--auth-key", f"{USER},{SECRET}", "--dir-cache-time", "0s"
        ) as endpoint,
    ):
        yield laboratory, endpoint


@pytest.fixture
def search(
    servers: tuple[Laboratory, str],
    bucket: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Search:
    """A search whose sources are all layouts in the folder, and in the store."""
    laboratory, endpoint = servers
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    S3FileSystem.clear_instance_cache()
    search = Search(tmp_path, bucket / "sky", laboratory)
    client = {"endpoint_url": endpoint, "region_name": "eu-central-1"}
    search.section["sources"] = {
        f"{place}_{layout}": {"kind": "alerts_parquet", "endpoint": f"{root}/{path}", **options}
        for layout, path in LAYOUTS.items()
        for place, root, options in (
            ("folder", bucket, {}),
            ("store", "s3://bucket", {"storage_options": {"client_kwargs": client}}),
        )
        if (place, layout) != ("store", "hats")
    }
    return search


def test_the_same_matches_from_everywhere(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    records = search.run()
    assert states(records) == {"data", "searched_empty"}
    rows = search.results()["objects"].to_pandas()
    by_source = {
        source: some.drop(columns="source").reset_index(drop=True)
        for source, some in rows.groupby("source")
    }
    assert set(by_source) == set(search.section["sources"])
    expected = by_source["folder_month"]
    assert len(expected) > 3
    for source, some in by_source.items():
        assert some.equals(expected), source
    counts = {
        source: sum(one["n_alerts"] for one in records if one["source"] == source)
        for source in by_source
        if not source.endswith("packets")
    }
    assert len(set(counts.values())) == 1
    # Nothing is read again, from the store neither.
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    assert search.run() == records


def test_a_store_that_refuses(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    names = ("folder_month", "store_month", "store_packets")
    search.section["sources"] = {name: search.section["sources"][name] for name in names}
    records = search.run()
    assert states(records, source="folder_month") == {"data", "searched_empty"}
    for name in names[1:]:
        refused = [one for one in records if one["source"] == name]
        assert {one["state"] for one in refused} == {"failed"}
        (message,) = {one["message"] for one in refused}
        assert "reading is not allowed" in message
        assert "guessed" not in message


def test_what_is_absent_or_damaged(search: Search, bucket: Path) -> None:
    (options,) = (
        source["storage_options"]
        for name, source in search.section["sources"].items()
        if name == "store_packets"
    )

    def n_alerts(name: str) -> int:
        folder = AlertFolder(f"s3://bucket/{name}", options, {}, 30.0, "start")
        return sum(batch.num_rows for batch in folder.batches(RANGE))

    for name in ("damaged/one.parquet", "damaged_packets/one.avro"):
        path = bucket / name
        path.parent.mkdir()
        path.write_bytes(b"PAR1" * 10)
        with pytest.raises(DamagedFileError, match=f"bucket/{path.parent.name}.* not "):
            n_alerts(path.parent.name)
    with pytest.raises(DamagedFileError, match="s3://bucket/nothing: found no alerts"):
        n_alerts("nothing")
    with pytest.raises(ArchiveError, match="gopher://bucket: no file system reads this address"):
        AlertFolder("gopher://bucket", {}, {}, 30.0, "start")
