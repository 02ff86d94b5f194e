"""Quasars of the SDSS: chosen by their ids alone, from pages that may be cut."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from listed_targets import SEED, TARGETS

from laboratory import Laboratory
from lightloom.errors import SampleError
from lightloom.sample.read import Sample
from lightloom.sky.services.registries import spectra

Read = Callable[..., Sample]


@pytest.fixture(scope="module")
def quasars() -> dict[str, dict[str, Any]]:
    """All good quasars with 0.5 <= z < 3."""
    rows = spectra(TARGETS, SEED).to_pylist()
    return {
        str(row["specObjID"]): row
        for row in rows
        if row["class"] == "QSO" and row["zWarning"] == 0 and 0.5 <= row["z"] < 3
    }


def ids(read: Read, number: int, **options: Any) -> set[str]:
    source = {"kind": "sdss_quasars", "number": number, "z_min": 0.5, "z_max": 3.0, **options}
    sample = read(source)
    # Two quasars of the sky are one target.
    return {*sample.targets["objectid"].to_pylist(), *sample.merged["merged_id"].to_pylist()}


def test_all_are_had_past_the_limit_of_the_service(
    read: Read, laboratory: Laboratory, quasars: dict[str, Any]
) -> None:
    # The laboratory gives 1000 rows at most, and says nothing of the others.
    assert len(quasars) > 2000
    assert ids(read, len(quasars)) == set(quasars)
    # A count, three pages and an empty one.
    assert len(laboratory.log("sdss")) == 5


def test_the_choice_is_reproducible(read: Read, quasars: dict[str, Any]) -> None:
    few = ids(read, 50)
    assert len(few) == 50
    assert few < ids(read, 80) < set(quasars)
    assert ids(read, 50, page_rows=333, data_release=17) == few
    other = ids(read, 50, seed=1)
    assert len(other) == 50
    assert len(other & few) < 10


def test_the_redshift_stays_with_the_quasar(read: Read, quasars: dict[str, Any]) -> None:
    sample = read({"kind": "sdss_quasars", "number": 5, "z_min": 0.5, "z_max": 3.0})
    redshifts = [json.loads(text) for text in sample.extra_columns["extra_columns"].to_pylist()]
    assert all(0.5 <= float(one["z"]) < 3.0 for one in redshifts)
    for row in sample.targets.to_pylist():
        known = quasars[row["objectid"]]
        assert (row["ra_deg"], row["dec_deg"]) == (known["ra"], known["dec"])


def test_fewer_than_asked_for_are_told(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    found = ids(read, 5000)
    assert caplog.messages == [f"sdss_quasars: found {len(found)} quasars, expected 5000"]


def test_no_quasar(read: Read) -> None:
    with pytest.raises(SampleError, match=r"sdss_quasars: found no quasar with .* z >= 19\.0"):
        read({"kind": "sdss_quasars", "number": 5, "z_min": 19.0, "z_max": 20.0})


def test_pages_have_to_hold_what_is_counted(read: Read, laboratory: Laboratory) -> None:
    laboratory.faults([{"service": "sdss", "nth": 3, "action": "overflow", "fraction": 0.0}])
    with pytest.raises(SampleError, match="SkyServer lists 1000 quasars and counts"):
        ids(read, 50)


def test_another_table_than_expected(read: Read, laboratory: Laboratory) -> None:
    fault = {"service": "sdss", "nth": 2, "action": "wrong_columns", "rename": {"ra": "raj"}}
    laboratory.faults([fault])
    with pytest.raises(SampleError, match=r"found the columns \[.*'raj'.*\], expected"):
        ids(read, 50)
