"""Tables of objects joined to tables of detections, against brute force."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_catalogs import (
    Position,
    awkward_positions,
    cells,
    offset,
    separations_arcsec,
    sources_around,
    tiling,
    write_hats,
)

from lightloom.catalogs.join import search_joined
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import SearchResult
from lightloom.errors import ArchiveError, ArchiveSchemaError, DamagedFileError

BASE_PIXELS = [(0, cell) for cell in range(12)]
WRITTEN: dict[str, dict[str, Any]] = {"pages": {"write_page_index": True}, "row groups": {}}
OBJECT_COLUMNS, COLUMNS = ["nDetections"], ["obsTime", "psfFlux"]


def by_cell(table: pa.Table) -> pa.Table:
    """The rows in order of a leading column of cells."""
    cell = cells(table["objra"].to_numpy(), table["objdec"].to_numpy(), 29)
    return table.add_column(0, "_healpix_29", pa.array(cell)).sort_by("_healpix_29")


def object_table(ra_deg: np.ndarray, dec_deg: np.ndarray, ids: np.ndarray) -> pa.Table:
    return by_cell(
        pa.table(
            {
                "objectid": pa.array(ids, pa.int64()),
                "objra": ra_deg,
                "objdec": dec_deg,
                "nDetections": pa.array(ids % 7, pa.int16()),
            }
        )
    )


def detection_table(objects: pa.Table, scatter_arcsec: float, seed: int) -> pa.Table:
    """0 to 5 detections of each object, up to 1.5 times the scatter away."""
    rng = np.random.default_rng(seed)
    repeats = rng.integers(0, 6, objects.num_rows)
    ids, ra, dec = (
        np.repeat(objects[name].to_numpy(), repeats) for name in ("objectid", "objra", "objdec")
    )
    n_rows = len(ids)
    ra, dec = offset(
        Position(ra, dec),  # type: ignore[arg-type]
        rng.uniform(0, 360, n_rows),
        rng.uniform(0, 1.5, n_rows) * scatter_arcsec,
    )
    flux = np.where(rng.random(n_rows) < 0.2, np.nan, rng.random(n_rows))
    return by_cell(
        pa.table(
            {
                "objectid": pa.array(ids, pa.int64()),
                "objra": pa.array(ra % 360, pa.float64()),
                "objdec": pa.array(dec, pa.float64()),
                "obsTime": pa.array(55000 + rng.permutation(n_rows) / 100, pa.float64()),
                "psfFlux": pa.array(flux, pa.float32()),
            }
        )
    )


def search(
    objects: CatalogSpec, detections: CatalogSpec, targets: list[Position],
    radius_arcsec: float, join_radius_arcsec: float,
) -> list[SearchResult]:  # fmt: skip
    searches, _ = plan_searches(open_catalog(objects), *zip(*targets, strict=True), radius_arcsec)
    return [
        search_joined(
            objects, detections, one, radius_arcsec, join_radius_arcsec=join_radius_arcsec,
            object_columns=OBJECT_COLUMNS, columns=COLUMNS,
        )
        for one in searches
    ]  # fmt: skip


def separations(positions: list[Position], table: pa.Table) -> np.ndarray:
    ra, dec = (np.array(values)[:, None] for values in zip(*positions, strict=True))
    return separations_arcsec(ra, dec, table["objra"].to_numpy(), table["objdec"].to_numpy())


def assert_equals_brute_force(
    results: list[SearchResult], objects: pa.Table, detections: pa.Table,
    targets: list[Position], radius_arcsec: float, join_radius_arcsec: float,
) -> None:  # fmt: skip
    object_rows = objects.to_pylist()
    positions = [Position(row["objra"], row["objdec"]) for row in object_rows]
    ids = detections["objectid"].to_numpy()
    near = separations(positions, detections) <= join_radius_arcsec if positions else []
    times, fluxes = (detections[name].to_pylist() for name in COLUMNS)
    matches, rows = {}, []
    match_arcsec = separations(targets, objects)
    for target, number in zip(*np.nonzero(match_arcsec <= radius_arcsec), strict=True):
        one = object_rows[number]
        matches[target, one["objectid"]] = match_arcsec[target, number]
        for detection in np.flatnonzero(near[number] & (ids == one["objectid"])):
            epoch = (times[detection], repr(fluxes[detection]))
            rows.append((target, one["nDetections"], *epoch))
    found = [
        (row["target"], row["nDetections"], row["obsTime"], repr(row["psfFlux"]))
        for result in results
        for row in result.table.to_pylist()
    ]
    assert sorted(found) == sorted(rows)
    by_object = {
        (row["target"], row["object_id"]): row["match_arcsec"]
        for result in results
        for row in result.matches.to_pylist()
    }
    assert by_object == pytest.approx(matches, rel=1e-9, abs=1e-9)
    assert sum(result.matches.num_rows for result in results) == len(matches)
    for result in results:
        assert set(result.table["match_arcsec"].to_pylist()) <= set(by_object.values())
        assert result.table["target"].to_pylist() == sorted(result.table["target"].to_pylist())
        assert result.table.schema == pa.schema(
            {
                "target": pa.int64(),
                "match_arcsec": pa.float64(),
                "nDetections": pa.int16(),
                "obsTime": pa.float64(),
                "psfFlux": pa.float32(),
            }
        )


@pytest.mark.parametrize("layout", WRITTEN)
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    splits=st.lists(st.integers(0, 10**6), max_size=8),
    other_splits=st.lists(st.integers(0, 10**6), max_size=8),
    targets=st.lists(awkward_positions(), min_size=1, max_size=3, unique=True),
    radius_arcsec=st.floats(0.5, 300),
    join_over_radius=st.floats(0.2, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_detection_of_every_object(
    tmp_path: Path, layout: str, splits: list[int], other_splits: list[int],
    targets: list[Position], radius_arcsec: float, join_over_radius: float, seed: int,
) -> None:  # fmt: skip
    join_radius_arcsec = join_over_radius * radius_arcsec
    ra, dec = sources_around(targets, radius_arcsec, np.random.default_rng(seed))
    objects = object_table(ra, dec, np.random.default_rng(seed).permutation(len(ra)) + 10**17)
    detections = detection_table(objects, join_radius_arcsec, seed)
    root = next(path for number in count() if not (path := tmp_path / f"{number}").exists())
    specs = [
        write_hats(root / "object", objects, tiling(splits, []), **WRITTEN[layout]),
        write_hats(root / "detection", detections, tiling(other_splits, []), **WRITTEN[layout]),
    ]
    results = search(*specs, targets, radius_arcsec, join_radius_arcsec)
    assert_equals_brute_force(
        results, objects, detections, targets, radius_arcsec, join_radius_arcsec
    )


@pytest.fixture
def field() -> tuple[pa.Table, pa.Table, list[Position]]:
    """Objects and detections in a field that the borders of pixels cross, and targets."""
    rng = np.random.default_rng(3)
    objects = object_table(
        rng.uniform(44.9, 45.1, 400), rng.uniform(-0.1, 0.1, 400), np.arange(400)
    )
    targets = [
        Position(row["objra"], row["objdec"])
        for row in objects.take(list(range(0, 400, 8))).to_pylist()
    ]
    return objects, detection_table(objects, 60.0, 3), targets


def written(
    tmp_path: Path, objects: pa.Table, detections: pa.Table, **options: Any
) -> tuple[CatalogSpec, CatalogSpec]:
    return (
        write_hats(tmp_path / "object", objects, BASE_PIXELS, **options),
        write_hats(tmp_path / "detection", detections, BASE_PIXELS, **options),
    )


@pytest.mark.parametrize("layout", WRITTEN)
def test_detections_in_other_partitions_than_their_object(
    tmp_path: Path, layout: str, field: tuple
) -> None:
    objects, detections, targets = field
    specs = written(tmp_path, objects, detections, **WRITTEN[layout])
    results = search(*specs, targets, 30.0, 60.0)
    assert len(results) > 1
    assert_equals_brute_force(results, objects, detections, targets, 30.0, 60.0)
    for result in results:
        assert result.plan.startswith("objects: ")
        assert "; detections: " in result.plan
        assert result.reads.requests > 4
        assert result.reads.rows > len(targets)


def test_rows_of_a_margin_are_kept_once(tmp_path: Path, field: tuple) -> None:
    objects, detections, targets = field
    specs = written(tmp_path, objects, detections)
    for path in Path(specs[1].endpoint).rglob("*.parquet"):
        inside = pq.read_table(path, partitioning=None)
        if inside.num_rows:
            pq.write_table(detections, path)
    results = search(*specs, targets, 30.0, 60.0)
    assert_equals_brute_force(results, objects, detections, targets, 30.0, 60.0)


def test_equal_rows_of_one_partition_are_kept(tmp_path: Path, field: tuple) -> None:
    objects, detections, targets = field
    doubled = pa.concat_tables([detections, detections]).sort_by("_healpix_29")
    results = search(*written(tmp_path, objects, doubled), targets, 30.0, 60.0)
    assert_equals_brute_force(results, objects, doubled, targets, 30.0, 60.0)


def test_of_objects_with_one_id_the_nearest_counts(tmp_path: Path, field: tuple) -> None:
    objects, detections, targets = field
    moved = objects.drop("_healpix_29").set_column(
        2, "objdec", pa.array(objects["objdec"].to_numpy() + 1e-4)
    )
    twice = pa.concat_tables([objects, by_cell(moved)]).sort_by("_healpix_29")
    specs = written(tmp_path, twice, detections)
    results = search(*specs, targets[:1], 0.5, 120.0)
    assert_equals_brute_force(results, objects, detections, targets[:1], 0.5, 120.0)


def test_no_object_matched(tmp_path: Path, field: tuple) -> None:
    objects, detections, _ = field
    specs = written(tmp_path, objects, detections, **WRITTEN["pages"])
    nowhere = [Position(44.0, 5.0)]
    (result,) = search(*specs, nowhere, 1.0, 1.0)
    assert_equals_brute_force([result], objects, detections, nowhere, 1.0, 1.0)
    assert result.plan == "objects: page ranges"


def test_payload_of_the_kept_rows_alone_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    objects = object_table(
        rng.uniform(10, 11, 20_000), rng.uniform(20, 21, 20_000), np.arange(20_000)
    )
    detections = detection_table(objects, 0.5, 4)
    options = {"data_page_size": 8192, "write_batch_size": 64, "use_dictionary": False}
    specs = written(tmp_path, objects, detections, write_page_index=True, **options)
    first = objects.slice(2000, 1).to_pylist()[0]
    (result,) = search(*specs, [Position(first["objra"], first["objdec"])], 1.0, 1.0)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    assert result.reads.bytes < 0.25 * stored


def test_ids_of_another_type(tmp_path: Path, field: tuple) -> None:
    objects, detections, targets = field
    as_text = detections.set_column(1, "objectid", detections["objectid"].cast(pa.string()))
    specs = written(tmp_path, objects, as_text)
    with pytest.raises(
        ArchiveSchemaError,
        match=r"Npix=\d+\.parquet: column 'objectid' has type string, expected int64 as in the",
    ):
        search(*specs, targets, 30.0, 60.0)


def test_lists_are_refused(tmp_path: Path, field: tuple) -> None:
    objects, detections, targets = field
    lists = pa.array([[time] for time in detections["obsTime"].to_pylist()])
    specs = written(tmp_path, objects, detections.set_column(4, "obsTime", lists))
    with pytest.raises(ArchiveSchemaError, match=r"'obsTime' has type list<.*, expected one value"):
        search(*specs, targets, 30.0, 60.0)


def test_types_that_differ_between_partitions(tmp_path: Path, field: tuple) -> None:
    objects, detections, targets = field
    specs = written(tmp_path, objects, detections)
    path = max(Path(specs[1].endpoint).rglob("*.parquet"), key=lambda path: path.stat().st_size)
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.set_column(5, "psfFlux", table["psfFlux"].cast(pa.float64())), path)
    with pytest.raises(ArchiveSchemaError, match=r"columns obsTime double, psfFlux .*, expected"):
        search(*specs, targets, 30.0, 60.0)


def test_absent_detections(tmp_path: Path, field: tuple) -> None:
    objects, detections, targets = field
    specs = written(tmp_path, objects, detections)
    path = max(Path(specs[1].endpoint).rglob("*.parquet"), key=lambda path: path.stat().st_size)
    path.unlink()
    with pytest.raises(DamagedFileError, match=rf"{path.name}: listed or expected, but absent"):
        search(*specs, targets, 30.0, 60.0)
    (tmp_path / "detection" / "partition_info.csv").write_text("Norder,Npix\n")
    moved = (tmp_path / "detection").rename(tmp_path / "emptied")
    with pytest.raises(ArchiveError, match="emptied: the catalogue lists no partition"):
        search(specs[0], replace(specs[1], endpoint=str(moved)), targets, 30.0, 60.0)
