"""Names and ids: resolved where a service knows them, and reported where none does."""

from collections.abc import Callable
from pathlib import Path

import pytest
from listed_targets import TARGETS

from laboratory import Laboratory
from lightloom.errors import SampleError
from lightloom.resolvers import names, ztf
from lightloom.sample.read import Sample
from lightloom.sky.services.registries import AWKWARD_NAME, LOST_NAME, ztf_id

Read = Callable[..., Sample]


def positions(sample: Sample) -> dict[str, tuple[float, float]]:
    rows = sample.targets.to_pylist()
    return {row["objectid"]: (row["ra_deg"], row["dec_deg"]) for row in rows}


def test_simbad_first_then_sesame(read: Read, laboratory: Laboratory) -> None:
    sample = read({"kind": "names", "entries": ["T 3", "t4", "first"], "label": "mine"})
    found = positions(sample)
    assert found["T 3"] == (60.125, -8.0)
    assert found["t4"] == pytest.approx((80.125, -4.0), abs=1e-6)
    assert sample.targets["labels"].to_pylist() == [["mine"]] * 3
    assert [record["service"] for record in laboratory.log()] == ["simbad", "sesame"]


def test_many_names_are_asked_in_parts(
    read: Read, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "NAMES_PER_QUERY", 5)
    sample = read({"kind": "names", "entries": [target.objectid for target in TARGETS[1:]]})
    assert sample.targets.num_rows == 11
    assert len(laboratory.log("simbad")) == 3


@pytest.mark.parametrize("name", [AWKWARD_NAME, AWKWARD_NAME.lower()])
def test_a_name_may_have_any_character(name: str, read: Read) -> None:
    sample = read({"kind": "names", "entries": [name]})
    assert positions(sample) == {name: pytest.approx((29.99, 0.55301), abs=1e-6)}


INJECTIONS = ["' OR '1'='1", '"; DROP TABLE ident; --', "a&oid=b", "x\\' --", "%27", "../../__log"]


def test_unknown_entries_are_bad_rows(read: Read, laboratory: Laboratory) -> None:
    source = {"kind": "names", "entries": ["T 3", "nobody", LOST_NAME, "Ümläut", *INJECTIONS]}
    with pytest.raises(SampleError) as caught:
        read(source)
    head, *lines = str(caught.value).split("\n  ")
    assert head == "9 problems in the sample:"
    expected = "expected a name that SIMBAD or Sesame knows"
    assert lines[0].startswith("names:")
    assert lines[0].endswith(f"row 2, column 'entries': found 'nobody', {expected}")
    assert all(line.endswith(expected) for line in lines)
    laboratory.clear_log()
    sample = read(source, on_bad_row="skip")
    assert list(positions(sample)) == ["T 3"]
    assert sample.rejected["found"].to_pylist()[3:] == [repr(one) for one in INJECTIONS]
    assert laboratory.log() == []


def test_ztf_ids(read: Read, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ztf, "IDS_PER_REQUEST", 5)
    known = [ztf_id(number) for number in range(3, 12)]
    sample = read({"kind": "ztf_ids", "entries": [*known, *INJECTIONS]}, on_bad_row="skip")
    assert positions(sample) == {
        ztf_id(number): (TARGETS[number].ra_deg, TARGETS[number].dec_deg) for number in range(3, 12)
    }
    assert sample.rejected["expected"].to_pylist() == [
        "the id of an object that ALeRCE knows"
    ] * len(INJECTIONS)
    assert len(laboratory.log("alerce")) == 3


def test_pages_of_alerce_are_followed(
    read: Read, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ztf._pages

    def small_pages(session, endpoint, ids):
        with monkeypatch.context() as context:
            context.setattr(ztf, "IDS_PER_REQUEST", 2)
            yield from asked(session, endpoint, ids)

    monkeypatch.setattr(ztf, "_pages", small_pages)
    sample = read({"kind": "ztf_ids", "entries": [ztf_id(number) for number in range(3, 8)]})
    assert sample.targets.num_rows == 5
    assert len(laboratory.log("alerce")) == 3


def test_a_list_in_a_file(read: Read) -> None:
    Path("list.txt").write_text("# mine\nT 3\n\n  T 4  \nnobody\n", encoding="utf-8")
    source = {"kind": "names", "path": "list.txt"}
    with pytest.raises(SampleError, match="row 5, column 'entries': found 'nobody'"):
        read(source)
    assert set(positions(read(source, on_bad_row="skip"))) == {"T 3", "T 4"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"list\.txt: no such file, expected a list"),
        (b"# nothing\n\n", r"list\.txt: found no entry, expected one in each line"),
        (b"A\nB\nA\n", r"list\.txt, row 3: found 'A', also in row 1, expected it once"),
        (b"A\nB\x07\n", r"list\.txt, row 2: found 'B\\x07', expected printable text"),
        (b"A\n\xff\n", r"list\.txt: found bytes that are not UTF-8"),
    ],
)
def test_wrong_lists(content: bytes | None, message: str, read: Read) -> None:
    if content is not None:
        Path("list.txt").write_bytes(content)
    for kind in ("names", "ztf_ids"):
        with pytest.raises(SampleError, match=message):
            read({"kind": kind, "path": "list.txt"})


def test_nobody_is_known(read: Read) -> None:
    with pytest.raises(SampleError, match=r"names: found 'a', 'b', expected a name that SIMBAD"):
        read({"kind": "names", "entries": ["a", "b"]}, on_bad_row="skip")
