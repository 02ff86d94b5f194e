"""Searches of small catalogues of every layout, against brute force over all their rows."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from written_catalogs import (
    Position,
    awkward_positions,
    cells,
    in_memory,
    offset,
    radii_arcsec,
    random_table,
    separations_arcsec,
    sources_around,
    tiling,
    write_hats,
    write_hive,
)

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.reads import Reads

COLUMNS = ["filterid", "objectid", "lightcurve.hmjd", "lightcurve.mag", "lightcurve.catflags"]
#: Directions in which positions beside the targets lie [deg].
NS = (0.0, 180.0)
#: More than rounding moves a right ascension by.
NUDGES_DEG = np.array([-1e-9, 0.0, 1e-9])
BASE_PIXELS = [(0, cell) for cell in range(12)]
WRITTEN: dict[str, dict[str, Any]] = {
    "pages": {"write_page_index": True, "row_group_size": 700},
    "row groups": {"row_group_size": 700},
}
RANGES, ROW_GROUPS = "page ranges", "pyarrow row groups"
SMALL_PAGES = {"data_page_size": 64, "write_batch_size": 2, "write_page_index": True}

RESULT_SCHEMA = pa.schema(
    {
        "target": pa.int64(),
        "match_arcsec": pa.float64(),
        "filterid": pa.int8(),
        "objectid": pa.int64(),
        "hmjd": pa.float64(),
        "mag": pa.float32(),
        "catflags": pa.int32(),
    }
)


def each_reader(root: Path, table: pa.Table) -> Iterator[CatalogSpec]:
    """The table as catalogues that are read in all the ways there are."""
    for name, options in WRITTEN.items():
        yield write_hats(root / name, table, BASE_PIXELS, **options)
    yield in_memory(write_hats(root / "remote", table, BASE_PIXELS, **WRITTEN["pages"]))


def sources_beside(
    targets: list[Position], radius_arcsec: float, rng: np.random.Generator
) -> np.ndarray:
    """Sources in and outside of the circles north and south of targets, not near their borders."""
    centres = [offset(one, angle, 3 * radius_arcsec) for one in targets for angle in NS]
    distances = radius_arcsec * rng.choice([0.5, 1.2], len(centres))
    placed = [
        offset(Position(*centre), rng.uniform(0, 360), distance)
        for centre, distance in zip(centres, distances, strict=True)
    ]
    return np.array(placed).T


def search(
    spec: CatalogSpec,
    targets: list[Position],
    radius_arcsec: float,
    columns: list[str] = COLUMNS,
    offset_arcsec: float = 0.0,
) -> list[SearchResult]:
    ra, dec = zip(*targets, strict=True)
    searches, _ = plan_searches(open_catalog(spec), ra, dec, radius_arcsec)
    return [
        search_partition(spec, one, radius_arcsec, columns, offset_arcsec=offset_arcsec)
        for one in searches
    ]


def light_curves(sources: pa.Table) -> dict[int, list[tuple[Any, ...]]]:
    """The rows that each source must give, by its id."""
    return {
        row["objectid"]: [
            (row["filterid"], row["objectid"], *epoch)
            for epoch in zip(*(row["lightcurve"] or {"none": []}).values(), strict=True)
        ]
        for row in sources.to_pylist()
    }


def assert_equals_brute_force(
    results: list[SearchResult], sources: pa.Table, targets: list[Position], radius_arcsec: float
) -> None:
    expected_rows = light_curves(sources)
    ids = sources["objectid"].to_pylist()
    ra, dec = (np.array(values)[:, None] for values in zip(*targets, strict=True))
    separation = separations_arcsec(
        ra, dec, sources["objra"].to_numpy(), sources["objdec"].to_numpy()
    )
    expected = {
        (int(target), ids[source]): separation[target, source]
        for target, source in zip(*np.nonzero(separation <= radius_arcsec), strict=True)
    }
    found: dict[tuple[int, int], float] = {}
    for result in results:
        matches = [tuple(row.values()) for row in result.matches.to_pylist()]
        assert matches == sorted(matches)
        assert not found.keys() & {match[:2] for match in matches}
        found |= {(target, id_): distance for target, id_, distance in matches}
        assert result.table.schema == RESULT_SCHEMA
        assert [tuple(row.values()) for row in result.table.to_pylist()] == [
            (target, distance, *row)
            for target, id_, distance in matches
            for row in expected_rows[id_]
        ]
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def assert_offsets_equal_brute_force(
    spec: CatalogSpec,
    results: list[SearchResult],
    sources: pa.Table,
    targets: list[Position],
    radius_arcsec: float,
) -> None:
    """Positions in a partition that is searched for their target, each of them once.

    Those at the border of a partition, which rounding puts on either side, may be in another.
    """
    source_ra, source_dec = (sources[name].to_numpy() for name in ("objra", "objdec"))
    searches, _ = plan_searches(open_catalog(spec), *zip(*targets, strict=True), radius_arcsec)
    expected = {}
    at_borders = set()
    for one in searches:
        order, pixel = one.partition.order, one.partition.pixel
        here = cells(source_ra, source_dec, order) == pixel
        for target in one.target.tolist():
            for direction, angle_deg in enumerate(NS):
                ra, dec = offset(targets[target], angle_deg, 3 * radius_arcsec)
                around = cells((ra + NUDGES_DEG) % 360, np.full(len(NUDGES_DEG), dec), order)
                if len(set(around.tolist())) > 1:
                    at_borders.add((target, direction))
                if cells([ra], [dec], order)[0] == pixel:
                    distances = separations_arcsec(ra, dec, source_ra[here], source_dec[here])
                    expected[target, direction] = bool((distances <= radius_arcsec).any())
    rows = [tuple(row.values()) for result in results for row in result.offsets.to_pylist()]
    found = {row[:2]: row[2] for row in rows}
    assert len(found) == len(rows)
    assert {key: found[key] for key in found.keys() - at_borders} == {
        key: expected[key] for key in expected.keys() - at_borders
    }


def hats(**options: Any) -> Callable[[Path, pa.Table, list[Any]], CatalogSpec]:
    return lambda root, table, pixels: write_hats(root, table, pixels, **options)


def remote(**options: Any) -> Callable[[Path, pa.Table, list[Any]], CatalogSpec]:
    return lambda root, table, pixels: in_memory(write_hats(root, table, pixels, **options))


#: Layout: key column, writer, the reader that must be chosen.
LAYOUTS = {
    "page index": ("_healpix_29", hats(write_page_index=True, data_page_size=64), RANGES),
    "page index, groups": ("_healpix_29", hats(write_page_index=True, row_group_size=3), RANGES),
    "one row group": ("_healpix_29", hats(), ROW_GROUPS),
    "small row groups": ("_healpix_29", hats(row_group_size=3, compression="zstd"), ROW_GROUPS),
    "no statistics": ("_healpix_29", hats(row_group_size=3, write_statistics=False), ROW_GROUPS),
    "no key": (None, hats(row_group_size=3), ROW_GROUPS),
    "no key, no statistics": (None, hats(row_group_size=3, write_statistics=False), ROW_GROUPS),
    "no key, page index": (None, hats(row_group_size=5, **SMALL_PAGES), RANGES),
    "no key, remote": (None, remote(row_group_size=5, **SMALL_PAGES), RANGES),
    "hipscat": ("_hipscat_index", hats(row_group_size=3), ROW_GROUPS),
    "folders": ("_healpix_29", hats(suffix="/", n_files=2, write_page_index=True), RANGES),
    "other suffix": ("_healpix_29", hats(suffix=".snappy.parq"), ROW_GROUPS),
    "remote": ("_healpix_29", remote(row_group_size=5, **SMALL_PAGES), RANGES),
    "remote, new pages": (
        "_hipscat_index",
        remote(data_page_version="2.0", use_dictionary=False, **SMALL_PAGES),
        RANGES,
    ),
    "remote, one row group": ("_healpix_29", remote(), ROW_GROUPS),
    "unlisted": ("_healpix_29", hats(partition_info=False, write_page_index=True), RANGES),
}  # fmt: skip


@pytest.fixture
def read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small catalogues read as large ones are."""
    monkeypatch.setattr("lightloom.catalogs.storage._TAIL_BYTES", 64)
    monkeypatch.setattr("lightloom.catalogs.storage._GAP_BYTES", 16)
    monkeypatch.setattr("lightloom.catalogs.storage._RUN_BYTES", 200)
    monkeypatch.setattr("lightloom.catalogs.page_ranges._BATCH_BYTES", 500)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("read_in_pieces")
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    splits=st.lists(st.integers(0, 10**6), max_size=10),
    targets=st.lists(awkward_positions(), min_size=1, max_size=4, unique=True),
    radius_arcsec=radii_arcsec(),
    seed=st.integers(0, 2**32 - 1),
)
@example(
    # North of it, across the pole, is the border of two partitions.
    splits=[],
    targets=[Position(0.0, 0.0), Position(0.0, 1.0), Position(359.99999999999994, 90.0)],
    radius_arcsec=1.0,
    seed=1,
)
def test_every_source_within_the_radius_and_no_other(
    tmp_path: Path,
    layout: str,
    splits: list[int],
    targets: list[Position],
    radius_arcsec: float,
    seed: int,
) -> None:
    key, write, plan = LAYOUTS[layout]
    rng = np.random.default_rng(seed)
    near, beside = (
        sources_around(targets, radius_arcsec, rng),
        sources_beside(targets, radius_arcsec, rng),
    )
    sources = random_table(*np.hstack([near, beside]), seed, key=key)
    root = next(path for number in count() if not (path := tmp_path / f"{number}").exists())
    spec = write(root, sources, tiling(splits, []))
    results = search(spec, targets, radius_arcsec, offset_arcsec=3 * radius_arcsec)
    assert_equals_brute_force(results, sources, targets, radius_arcsec)
    assert_offsets_equal_brute_force(spec, results, sources, targets, radius_arcsec)
    # A file without rows has no page index.
    assert {plan, ROW_GROUPS} >= {name for one in results for name in one.plan.split(", ")}
    assert any(plan in result.plan for result in results)


def crowd(n_sources: int = 3000, seed: int = 5) -> tuple[pa.Table, list[Position]]:
    """A field of 0.2 degrees full of sources, and targets on and between them."""
    rng = np.random.default_rng(seed)
    table = random_table(
        rng.uniform(150.0, 150.2, n_sources), rng.uniform(2.0, 2.2, n_sources), seed
    )
    ra, dec = table["objra"].to_numpy(), table["objdec"].to_numpy()
    targets = [Position(ra[i], dec[i]) for i in rng.integers(0, n_sources, 40)]
    return table, targets


@pytest.mark.parametrize("seed", [1, 2])
def test_hive(tmp_path: Path, seed: int) -> None:
    table, targets = crowd(seed=seed)
    spec = write_hive(
        tmp_path / "hive", table.drop("_healpix_29"), "healpix_k5", 5, row_group_size=100
    )
    assert {partition.order for partition in open_catalog(spec).partitions} == {5}
    results = search(spec, targets, 20.0)
    assert_equals_brute_force(results, table, targets, 20.0)
    assert {result.plan for result in results} == {ROW_GROUPS}


def test_rows_in_no_order(tmp_path: Path) -> None:
    table, targets = crowd()
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    for spec in each_reader(tmp_path, shuffled):
        assert_equals_brute_force(search(spec, targets, 20.0), table, targets, 20.0)


def test_both_readers_give_the_same(tmp_path: Path) -> None:
    table, targets = crowd()
    specs = [
        write_hats(
            tmp_path / str(index), table, BASE_PIXELS, row_group_size=700, write_page_index=index
        )
        for index in (True, False)
    ]
    (pages,), (row_groups,) = (search(spec, targets, 30.0) for spec in specs)
    assert (pages.plan, row_groups.plan) == (RANGES, ROW_GROUPS)
    assert pages.table.equals(row_groups.table)
    assert pages.matches.equals(row_groups.matches)


def test_only_pages_with_matches_are_read(tmp_path: Path) -> None:
    table, targets = crowd(20_000)
    small_pages = {"data_page_size": 2048, "write_batch_size": 64, "use_dictionary": False}
    spec = write_hats(
        tmp_path / "catalog", table, BASE_PIXELS, write_page_index=True, **small_pages
    )
    (result,) = search(spec, targets[:1], 1.0)
    (path,) = [p for p in Path(spec.endpoint).rglob("*.parquet") if pq.read_metadata(p).num_rows]
    footer = pq.read_metadata(path).serialized_size
    assert result.plan == RANGES
    assert result.reads.bytes < footer + 0.2 * path.stat().st_size
    assert 0 < result.reads.rows < table.num_rows


def test_only_the_page_index_of_row_groups_near_the_targets_is_read(tmp_path: Path) -> None:
    table, targets = crowd(20_000)
    bytes_of = {}
    for rows in (20_000, 200):
        spec = write_hats(
            tmp_path / str(rows), table, BASE_PIXELS, write_page_index=True, row_group_size=rows,
            data_page_size=2048, write_batch_size=64, use_dictionary=False,
        )  # fmt: skip
        (result,) = search(spec, targets[:1], 1.0)
        files = Path(spec.endpoint).rglob("*.parquet")
        (metadata,) = [m for m in map(pq.read_metadata, files) if m.num_rows]
        assert result.plan == RANGES
        assert result.matches.num_rows > 0
        bytes_of[rows] = result.reads.bytes - metadata.serialized_size
    # The index of one row group among a hundred, in place of that of the only one.
    assert bytes_of[200] < 0.7 * bytes_of[20_000]


def test_without_a_key_only_pages_near_the_targets_are_read(tmp_path: Path) -> None:
    table, targets = crowd(20_000)
    small_pages = {"data_page_size": 2048, "write_batch_size": 64, "use_dictionary": False}
    spec = write_hats(
        tmp_path / "catalog",
        table.drop_columns(["_healpix_29"]),
        BASE_PIXELS,
        write_page_index=True,
        **small_pages,
    )
    (result,) = search(spec, targets[:1], 1.0)
    (path,) = [p for p in Path(spec.endpoint).rglob("*.parquet") if pq.read_metadata(p).num_rows]
    assert result.plan == RANGES
    assert result.matches.num_rows > 0
    assert result.reads.bytes < pq.read_metadata(path).serialized_size + 0.2 * path.stat().st_size
    assert 0 < result.reads.rows < 0.1 * table.num_rows


def test_no_row_group_without_candidates_is_read(tmp_path: Path) -> None:
    table, targets = crowd(20_000)
    spec = write_hats(tmp_path / "catalog", table, BASE_PIXELS, row_group_size=500)
    (result,) = search(spec, targets[:1], 1.0)
    assert result.plan == ROW_GROUPS
    assert result.reads.rows <= 1000
    nowhere = search(spec, [Position(150.1, 1.5)], 1.0)
    assert [(one.reads.rows, one.table.num_rows, one.matches.num_rows) for one in nowhere] == [
        (0, 0, 0)
    ]


def test_payload_of_many_matches_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, targets = crowd()
    spec = write_hats(tmp_path / "catalog", table, BASE_PIXELS, write_page_index=True)
    (whole,) = search(spec, targets, 30.0)
    monkeypatch.setattr("lightloom.catalogs.page_ranges._BATCH_BYTES", 20_000)
    (pieces,) = search(spec, targets, 30.0)
    assert pieces.table.equals(whole.table)
    assert pieces.reads.requests > whole.reads.requests + 3


def test_repeated_rows_are_kept(tmp_path: Path) -> None:
    table, targets = crowd(200)
    doubled = pa.concat_tables([table, table]).sort_by("_healpix_29")
    singles = each_reader(tmp_path / "single", table)
    for spec, single in zip(each_reader(tmp_path / "doubled", doubled), singles, strict=True):
        (twice,), (once,) = (search(one, targets, 5.0) for one in (spec, single))
        assert twice.matches.num_rows == 2 * once.matches.num_rows > 0
        assert twice.table.num_rows == 2 * once.table.num_rows


def test_positions_that_are_null_or_nan_match_nothing(tmp_path: Path) -> None:
    table, targets = crowd(200)
    names = table.column_names
    ra = table["objra"].to_pylist()
    dec = table["objdec"].to_pylist()
    ra[:50], dec[50:60] = [None] * 50, [float("nan")] * 10
    holed = table.set_column(names.index("objra"), "objra", pa.array(ra))
    holed = holed.set_column(names.index("objdec"), "objdec", pa.array(dec))
    assert_field_equals(tmp_path, holed, table.slice(60), targets)


def assert_field_equals(
    tmp_path: Path, written: pa.Table, expected: pa.Table, targets: list[Position]
) -> None:
    """Compare what is found in a table, written as one partition, with what there is to find."""
    for number, (page_index, is_remote) in enumerate(
        [(True, False), (False, False), (True, True), (False, True)]
    ):
        root = tmp_path / f"{number}"
        spec = write_hats(root, expected, BASE_PIXELS)
        (path,) = [p for p in root.rglob("*.parquet") if pq.read_metadata(p).num_rows]
        pq.write_table(written, path, write_page_index=page_index, row_group_size=70)
        results = search(in_memory(spec) if is_remote else spec, targets, 30.0)
        assert_equals_brute_force(results, expected, targets, 30.0)


def test_keys_that_are_null_match_nothing(tmp_path: Path) -> None:
    table, targets = crowd(200)
    keys = table["_healpix_29"].to_pylist()
    # A page without any key, pages that lack one, and a row group without any.
    keys[:70], keys[100] = [None] * 70, None
    expected = table.take([i for i, key in enumerate(keys) if key is not None])
    holed = table.set_column(0, "_healpix_29", pa.array(keys, pa.int64()))
    assert_field_equals(tmp_path, holed, expected, targets)


def test_ids_and_values_that_are_null(tmp_path: Path) -> None:
    table, targets = crowd(200)
    position = table.column_names.index("filterid")
    holed = table.set_column(position, "filterid", pa.nulls(200, pa.int8()))
    assert_field_equals(tmp_path, holed, holed, targets)
    ids = table.set_column(
        table.column_names.index("objectid"), "objectid", pa.nulls(200, pa.int64())
    )
    for spec in each_reader(tmp_path / "ids", ids):
        (result,) = search(spec, targets, 30.0)
        assert result.matches["object_id"].null_count == result.matches.num_rows > 0


def test_nan_beside_values_that_are_all_equal(tmp_path: Path) -> None:
    table, targets = crowd(200)
    names = table.column_names
    noise = pa.array([0.5, float("nan")] * 100, pa.float32())
    table = table.set_column(names.index("filterid"), "filterid", noise)
    for spec in each_reader(tmp_path, table):
        (result,) = search(spec, targets, 60.0, ["objectid", "filterid"])
        found = dict(
            zip(
                result.table["objectid"].to_pylist(),
                result.table["filterid"].to_pylist(),
                strict=True,
            )
        )
        expected = dict(zip(table["objectid"].to_pylist(), noise.to_pylist(), strict=True))
        assert len(found) > 20
        assert {i: repr(v) for i, v in found.items()} == {i: repr(expected[i]) for i in found}


def test_flat_detections_with_string_ids_and_upper_case_names(tmp_path: Path) -> None:
    table, targets = crowd()
    flat = table.select(["_healpix_29", "objra", "objdec"])
    flat = flat.append_column("MJDMEAN", table["filterid"])
    flat = flat.append_column("unwise_detid", pc.cast(table["objectid"], pa.string()))
    for spec in each_reader(tmp_path, flat):
        spec = replace(spec, object_id="unwise_detid")
        (result,) = search(spec, targets, 30.0, ["MJDMEAN"])
        assert result.table.column_names == ["target", "match_arcsec", "MJDMEAN"]
        assert result.matches["object_id"].type == pa.string()
        assert result.table.num_rows == result.matches.num_rows > len(targets)


def test_top_level_lists(tmp_path: Path) -> None:
    table, targets = crowd()
    curves = table["lightcurve"].combine_chunks()
    fields = {name: pc.struct_field(curves, name) for name in ("hmjd", "mag", "catflags")}
    listed = pa.table({name: table[name] for name in table.column_names[:-1]} | fields)
    spec = write_hats(tmp_path / "lists", listed, BASE_PIXELS, write_page_index=True)
    results = search(spec, targets, 30.0, [*COLUMNS[:2], "hmjd", "mag", "catflags"])
    assert_equals_brute_force(results, table, targets, 30.0)


def test_collection_stands_for_its_primary_table(tmp_path: Path) -> None:
    table, targets = crowd()
    root = tmp_path / "collection"
    spec = write_hats(root / "primary", table, BASE_PIXELS, write_page_index=True)
    (root / "collection.properties").write_text(
        "obs_collection=collection\nhats_primary_table_url=primary\n"
    )
    collection = CatalogSpec(str(root), "hats", spec.ra, spec.dec, spec.object_id)
    assert_equals_brute_force(search(collection, targets, 30.0), table, targets, 30.0)


def test_empty_partition(tmp_path: Path) -> None:
    table, _ = crowd(10)
    for spec in each_reader(tmp_path, table):
        (result,) = search(spec, [Position(45.0, 10.0)], 60.0)
        assert result.table.num_rows == result.matches.num_rows == 0
        assert result.table.schema.field("hmjd").type == pa.float64()


def test_results_and_searches_can_be_sent_to_workers(tmp_path: Path) -> None:
    table, targets = crowd(100)
    spec = write_hats(tmp_path / "catalog", table, BASE_PIXELS)
    (one,), _ = plan_searches(open_catalog(spec), *zip(*targets, strict=True), 5.0)
    result = search_partition(*pickle.loads(pickle.dumps((spec, one))), 5.0, COLUMNS)
    assert pickle.loads(pickle.dumps(result)).table.equals(result.table)
    assert result.reads + Reads(1, 2, 3) == Reads(
        result.reads.requests + 1, result.reads.bytes + 2, result.reads.rows + 3
    )


def test_pages_between_distant_targets_are_not_read(tmp_path: Path) -> None:
    table, _ = crowd(20_000)
    spec = write_hats(
        tmp_path / "catalog", table, BASE_PIXELS, write_page_index=True, max_rows_per_page=500
    )
    rows = table.select(["objra", "objdec"]).take([0, 10_000, 19_999]).to_pylist()
    (result,) = search(spec, [Position(*row.values()) for row in rows], 1.0)
    assert result.plan == RANGES
    assert result.matches.num_rows >= 3
    assert result.reads.rows <= 3 * 2 * 500
