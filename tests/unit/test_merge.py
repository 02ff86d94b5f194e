"""Merged tables hold every row once, in one order; what does not add up is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightloom.errors import ResultError
from lightloom.merge import Part, merge_ledger
from lightloom.schema import LEDGER, LIGHTCURVE
from lightloom.storage import sha256_file
from small_run import SmallRun, lightcurve_row

TARGETS = {"a": (10.0, 0.1), "b": (10.2, 0.3), "c": (10.4, 0.5)}


@pytest.fixture
def parts(small_run: SmallRun) -> list[Part]:
    """Two archives; target c has no rows in either, b none in ztf."""
    small_run.add_shard("allsky", TARGETS)
    ztf = [
        lightcurve_row("a", "ztf", time_mjd=58000.0 + i, band=band)
        for i in range(5)
        for band in "rg"
    ]
    unwise = [
        lightcurve_row(o, "unwise", time_mjd=57000.0 + i, band="W1") for i in range(3) for o in "ab"
    ]
    return [
        small_run.add_part("ztf", "allsky", ztf),
        small_run.add_part("unwise", "allsky", unwise, states={"b": "ambiguous"}),
    ]


def test_all_rows_are_merged_in_order(small_run: SmallRun, parts: list[Part]) -> None:
    merged = pq.read_table(small_run.merge("allsky", parts))
    assert merged.schema.equals(LIGHTCURVE)
    order = small_run.objectids("allsky")
    keys = [
        (order.index(r["objectid"]), r["archive"], r["band"], r["survey_object_id"], r["time_mjd"])
        for r in merged.to_pylist()
    ]
    assert keys == sorted(keys)
    assert len(keys) == 16
    rows = [json.dumps(r, sort_keys=True) for r in merged.to_pylist()]
    before = [
        json.dumps(r, sort_keys=True) for p in parts for r in pq.read_table(p.path).to_pylist()
    ]
    assert sorted(rows) == sorted(before)


def test_bytes_do_not_depend_on_the_order_of_parts_or_the_clock(
    small_run: SmallRun, parts: list[Part]
) -> None:
    first = small_run.merge("allsky", parts).read_bytes()
    small_run.edit_status(parts[0], retrieved_utc="2030-01-01T00:00:00Z", version="9.9.9")
    assert small_run.merge("allsky", parts[::-1]).read_bytes() == first


def test_the_footer_says_what_was_merged(small_run: SmallRun, parts: list[Part]) -> None:
    footer = pq.read_schema(small_run.merge("allsky", parts)).metadata
    archives = json.loads(footer[b"lightloom_archives"])
    assert footer[b"lightloom_shard"] == b"allsky"
    assert archives["ztf"] == {"release": "ztf-dr1", **parts[0].key}


def test_the_ledger_has_every_target_and_archive(small_run: SmallRun, parts: list[Part]) -> None:
    small_run.catalogue = ("unwise", "gaia", "ztf")
    small_run.merge("allsky", parts)
    _, ledger_path = small_run.finish()
    ledger = pq.read_table(ledger_path)
    assert ledger.schema.equals(LEDGER)
    states = {(r["objectid"], r["archive"]): (r["state"], r["n_rows"]) for r in ledger.to_pylist()}
    assert list(states) == [
        (o, a) for o in small_run.objectids("allsky") for a in ("gaia", "unwise", "ztf")
    ]
    assert states["a", "ztf"] == ("data", 10)
    assert states["b", "ztf"] == ("searched_empty", 0)
    assert states["b", "unwise"] == ("ambiguous", 3)
    assert states["c", "gaia"] == ("not_requested", 0)


def test_a_shard_without_any_archive_is_merged(small_run: SmallRun) -> None:
    small_run.add_shard("allsky", TARGETS)
    assert pq.read_table(small_run.merge("allsky", [])).num_rows == 0
    assert pq.read_table(small_run.path("ledger", "allsky")).num_rows == 6


def test_matched_objects_with_empty_lists_are_searched_empty(small_run: SmallRun) -> None:
    small_run.add_shard("allsky", TARGETS)
    part = small_run.add_part("ztf", "allsky", [])
    small_run.edit_status(part, n_sources=[1, 0, 0], match_arcsec=[0.3, None, None])
    small_run.merge("allsky", [part])
    ledger = pq.read_table(small_run.path("ledger", "allsky")).to_pylist()
    assert [(r["state"], r["n_sources"]) for r in ledger if r["archive"] == "ztf"] == [
        ("searched_empty", 1),
        ("searched_empty", 0),
        ("searched_empty", 0),
    ]


def partial_part(small_run: SmallRun) -> Part:
    small_run.add_shard("allsky", TARGETS)
    return small_run.add_part(
        "ztf",
        "allsky",
        [lightcurve_row("a", "ztf")],
        states={"b": "failed", "c": "failed"},
        messages=dict.fromkeys("bc", ("transient", "connection reset")),
    )


def test_a_partial_result_is_refused_by_default(small_run: SmallRun) -> None:
    part = partial_part(small_run)
    with pytest.raises(
        ResultError, match=r"shard allsky: ztf: 2 of 3 .* connection reset.*allow_part"
    ):
        small_run.merge("allsky", [part])
    assert not small_run.path("lightcurves", "allsky").exists()
    assert not small_run.path("ledger", "allsky").exists()


def test_a_partial_result_is_merged_if_allowed(small_run: SmallRun) -> None:
    part = partial_part(small_run)
    assert pq.read_table(small_run.merge("allsky", [part], allow_partial=True)).num_rows == 1
    ledger = pq.read_table(small_run.path("ledger", "allsky")).to_pylist()
    failed = [r for r in ledger if r["state"] == "failed"]
    assert [(r["error_class"], r["message"]) for r in failed] == [
        ("transient", "connection reset")
    ] * 2


def damage_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run, part: damage_one_byte(part.path), "SHA-256"),
        (lambda run, part: part.path.unlink(), "not found"),
        (lambda run, part: part.status_path.unlink(), "not a readable status file"),
        (lambda run, part: part.status_path.write_text("{"), "not a readable status file"),
        (lambda run, part: part.status_path.write_text("{}"), "missing keys.*targets.objectid"),
        (
            lambda run, part: run.edit_status(part, archive="gaia"),
            "archive is 'gaia', expected 'ztf'",
        ),
        (lambda run, part: run.edit_status(part, shard="other"), "shard is 'other'"),
        (
            lambda run, part: run.edit_status(part, key=part.key | {"code_hash": "old"}),
            "code_hash is 'old', expected 'c0'",
        ),
        (
            lambda run, part: run.edit_status(part, objectid=["a", "b", "d"]),
            "not those of the shard",
        ),
        (lambda run, part: run.edit_status(part, n_rows=[10, None, 0]), "n_rows.*nulls"),
        (lambda run, part: run.edit_status(part, n_rows=["x", 0, 0]), "not a table of states"),
        (lambda run, part: run.edit_status(part, n_rows=[9, 0, 0]), "'a'.*another number of rows"),
        (
            lambda run, part: run.edit_status(part, state=["searched_empty"] * 3),
            "'a'.*must not have rows",
        ),
        (
            lambda run, part: run.edit_status(part, state=["data", "data", "searched_empty"]),
            "'b'.*needs rows",
        ),
        (
            lambda run, part: run.edit_status(part, state=["data", "lost", "searched_empty"]),
            "'b' has state 'lost'.*no search can end in",
        ),
        (
            lambda run, part: run.edit_status(part, state=["data", "not_requested", "failed"]),
            "'b' has state 'not_requested'",
        ),
        (
            lambda run, part: run.edit_status(part, state=["data", "searched_empty", "failed"]),
            "'c'.*without an error class",
        ),
    ],
)
def test_what_does_not_add_up_is_refused(
    small_run: SmallRun,
    harm: Callable[[SmallRun, Part], None],
    message: str,
) -> None:
    small_run.add_shard("allsky", TARGETS)
    rows = [lightcurve_row("a", "ztf", time_mjd=58000.0 + i) for i in range(10)]
    part = small_run.add_part("ztf", "allsky", rows)
    harm(small_run, part)
    with pytest.raises(ResultError, match=message) as refusal:
        small_run.merge("allsky", [part], allow_partial=True)
    assert "ztf/allsky" in str(refusal.value)
    assert not small_run.path("lightcurves", "allsky").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objectid": "z"}, "target 'z' is not in the shard"),
        ({"archive": "gaia"}, "archive is 'gaia'"),
    ],
)
def test_rows_of_strangers_are_refused(
    small_run: SmallRun, values: dict[str, str], message: str
) -> None:
    small_run.add_shard("allsky", TARGETS)
    part = small_run.add_part(
        "ztf", "allsky", [lightcurve_row("a", "ztf"), lightcurve_row("b", "ztf")]
    )
    rows = [lightcurve_row("a", "ztf"), lightcurve_row("b", "ztf") | values]
    complete = [{n: r.get(n) for n in LIGHTCURVE.names} for r in rows]
    pq.write_table(pa.Table.from_pylist(complete, schema=LIGHTCURVE), part.path)
    small_run.edit_status(part, part={"sha256": sha256_file(part.path), "bytes": 1})
    with pytest.raises(ResultError, match=message):
        small_run.merge("allsky", [part])


def test_an_archive_outside_the_catalogue_is_refused(
    small_run: SmallRun, parts: list[Part]
) -> None:
    small_run.catalogue = ("ztf",)
    with pytest.raises(ResultError, match=r"\['unwise'\] are not in the catalogue"):
        small_run.merge("allsky", parts)


def test_a_ledger_with_a_piece_missing_is_refused(small_run: SmallRun, parts: list[Part]) -> None:
    small_run.merge("allsky", parts)
    sample_path, ledger_path = small_run.finish()
    ledger_path.unlink()
    with pytest.raises(ResultError, match=r"0 states, expected 6 \(3 targets x 2 archives\)"):
        merge_ledger(
            pieces=[], sample_path=sample_path, catalogue=["ztf", "unwise"], ledger_path=ledger_path
        )
    assert not ledger_path.exists()
