"""The HATS catalogue is valid, whole and the same each time, and LSDB works on it."""

import hashlib
import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hats import read_hats
from hats.io.skymap import read_skymap
from hats.io.validation import is_valid_catalog

from lightloom import hats_export
from lightloom.errors import ResultError
from lightloom.hats_export import SCHEMA, ShardFiles, write_hats
from lightloom.schema import LIGHTCURVE
from small_run import SmallRun, lightcurve_row

SKY = {
    "allsky": {
        "origin": (0.0, 0.0),
        "wrap": (359.99999, -0.1),
        "north": (123.0, 90.0),
        "south": (77.0, -90.0),
        "empty": (200.0, -60.0),
    }
}
LEAVES = {
    "norder0-npix0": {"a": (45.0, 40.0), "b": (46.0, 40.0)},
    "norder1-npix17": {"c": (0.1, 0.0)},
    "norder0-npix11": {"d": (315.0, -45.0)},
}


@pytest.fixture
def lsdb() -> Iterator[ModuleType]:
    """LSDB, whose import and use warn of deprecations in pandas and nested-pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("lsdb")


def build(run: SmallRun, sky: dict[str, dict[str, tuple[float, float]]]) -> Path:
    """Merge two archives over ``sky``: target number i has i rows in each."""
    for name, targets in sky.items():
        run.add_shard(name, targets)
        parts = []
        for archive, band in (("ztf", "r"), ("unwise", "W1")):
            rows = [
                lightcurve_row(
                    target, archive, band=band, time_mjd=58000.0 + i, flux_mjy=number - i * 1.25
                )
                for number, target in enumerate(targets)
                for i in range(0 if target == "empty" else number + 1)
            ]
            parts.append(run.add_part(archive, name, rows))
        run.merge(name, parts)
    sample_path, _ = run.finish({"a": ["quasar", "x;y"], "north": ["pole"]})
    return sample_path


def export(run: SmallRun, sample_path: Path, name: str = "lightcurves") -> Path:
    catalog_path = run.results / "hats" / name
    catalog_path.parent.mkdir(exist_ok=True)
    write_hats(
        shards=[ShardFiles(run.path("shards", s), run.path("lightcurves", s)) for s in run.shards],
        sample_path=sample_path,
        catalog_path=catalog_path,
    )
    return catalog_path


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("sky", [SKY, LEAVES], ids=["allsky", "leaves"])
def test_the_catalogue_holds_all_targets_and_rows(
    small_run: SmallRun, lsdb: ModuleType, sky: dict[str, dict[str, tuple[float, float]]]
) -> None:
    catalog_path = export(small_run, build(small_run, sky))
    assert is_valid_catalog(catalog_path, strict=True)
    flat = pa.concat_tables(
        [pq.read_table(small_run.path("lightcurves", name)) for name in small_run.shards]
    )
    frame = lsdb.open_catalog(catalog_path).compute()
    assert frame.index.is_monotonic_increasing
    assert set(frame["objectid"]) == {name for targets in sky.values() for name in targets}
    for target, n_rows, nested in zip(
        frame["objectid"], frame["n_rows"], frame["lightcurve"], strict=True
    ):
        mine = flat.filter(pa.compute.equal(flat["objectid"], target)).drop_columns("objectid")
        assert n_rows == mine.num_rows
        if n_rows:
            assert list(nested.columns) == LIGHTCURVE.names[1:]
            assert nested["flux_mjy"].tolist() == mine["flux_mjy"].to_pylist()
            assert nested["time_mjd"].tolist() == mine["time_mjd"].to_pylist()
            assert nested["archive"].tolist() == mine["archive"].to_pylist()


def test_lsdb_filters_and_crossmatches(small_run: SmallRun, lsdb: ModuleType) -> None:
    catalog_path = export(small_run, build(small_run, LEAVES))
    catalog = lsdb.open_catalog(catalog_path)
    negative = catalog.query("lightcurve.flux_mjy < 0").compute()
    targets = lsdb.from_dataframe(
        lsdb.open_catalog(catalog_path, columns=["objectid", "ra_deg", "dec_deg"])
        .compute()
        .reset_index(drop=True),
        ra_column="ra_deg",
        dec_column="dec_deg",
    )
    matched = targets.crossmatch(catalog, radius_arcsec=0.5, suffixes=("_left", "_right")).compute()
    assert np.all(np.asarray(negative["lightcurve.flux_mjy"], float) < 0)
    assert len(negative["lightcurve.flux_mjy"]) == 2
    assert matched["objectid_left"].tolist() == matched["objectid_right"].tolist()
    assert len(matched) == 4


def test_labels_and_positions_are_kept(small_run: SmallRun) -> None:
    catalog_path = export(small_run, build(small_run, LEAVES))
    table = pq.read_table(catalog_path / "dataset" / "Norder=0" / "Dir=0" / "Npix=0.parquet")
    assert table.schema.equals(SCHEMA)
    assert table.schema.field("lightcurve").type.field("flux_mjy").metadata[b"unit"] == b"mJy"
    rows = {row["objectid"]: row for row in table.to_pylist()}
    assert rows["a"]["labels"] == ["quasar", "x;y"]
    assert rows["b"]["labels"] == []
    assert (rows["a"]["ra_deg"], rows["a"]["dec_deg"]) == (45.0, 40.0)


def test_the_map_counts_targets(small_run: SmallRun) -> None:
    catalog_path = export(small_run, build(small_run, LEAVES))
    counts = read_skymap(read_hats(catalog_path), 0)
    assert counts.tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_bytes_are_the_same_each_time(small_run: SmallRun) -> None:
    sample_path = build(small_run, LEAVES)
    first = digests(export(small_run, sample_path))
    (small_run.results / "hats" / "lightcurves" / "stray").write_text("of an earlier run")
    assert digests(export(small_run, sample_path)) == first
    assert [path.name for path in (small_run.results / "hats").iterdir()] == ["lightcurves"]


def test_row_groups_are_bounded(small_run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_path = build(small_run, SKY)
    whole = export(small_run, sample_path, "whole")
    monkeypatch.setattr(hats_export, "_GROUP_ROWS", 3)
    monkeypatch.setattr(hats_export, "_GROUP_TARGETS", 1)
    pieces = export(small_run, sample_path, "pieces")
    files = sorted((pieces / "dataset").rglob("*.parquet"))
    for path in files:
        metadata = pq.read_metadata(path)
        assert metadata.num_row_groups == metadata.num_rows
        assert pq.read_table(path).equals(pq.read_table(whole / path.relative_to(pieces)))


def test_targets_of_another_sample_are_refused(small_run: SmallRun) -> None:
    sample_path = build(small_run, LEAVES)
    small_run.add_shard("norder0-npix11", {"stranger": (315.0, -45.0)})
    with pytest.raises(ResultError, match=r"norder0-npix11.*not those of .*sample"):
        export(small_run, sample_path)
    assert not (small_run.results / "hats" / "lightcurves").exists()


def test_rows_of_another_shard_are_refused(small_run: SmallRun) -> None:
    sample_path = build(small_run, LEAVES)
    wrong = small_run.path("lightcurves", "norder0-npix0")
    small_run.path("lightcurves", "norder0-npix11").write_bytes(wrong.read_bytes())
    with pytest.raises(ResultError, match="target 'a' is not in the shard"):
        export(small_run, sample_path)


def test_rows_out_of_order_are_refused(small_run: SmallRun) -> None:
    sample_path = build(small_run, LEAVES)
    path = small_run.path("lightcurves", "norder0-npix0")
    pq.write_table(pq.read_table(path).sort_by([("objectid", "descending")]), path)
    with pytest.raises(ResultError, match="not in the order"):
        export(small_run, sample_path)
