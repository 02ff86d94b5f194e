"""Targets from any query to a TAP service."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from laboratory import Laboratory
from lightloom.errors import SampleError
from lightloom.resolvers.queries import adql_name, adql_text
from lightloom.sample.read import Sample

Read = Callable[..., Sample]


@pytest.fixture
def tap(laboratory: Laboratory) -> Callable[..., dict[str, Any]]:
    def source(adql: str, **options: Any) -> dict[str, Any]:
        endpoint = laboratory.url("simbad") + "/tap"
        return {"kind": "tap", "endpoint": endpoint, "adql": adql, **options}

    return source


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_any_query(mode: str, read: Read, tap: Callable[..., Any], laboratory: Laboratory) -> None:
    adql = "SELECT main_id, ra, dec, otype FROM basic WHERE ra BETWEEN 50 AND 110"
    sample = read(tap(adql, id="main_id", label_column="otype", mode=mode))
    rows = {row["objectid"]: row for row in sample.targets.to_pylist()}
    assert sorted(rows) == ["T 3", "T 4", "T 5"]
    assert (rows["T 4"]["ra_deg"], rows["T 4"]["labels"]) == (80.125, ["QSO"])
    paths = {record["path"].split("/")[2] for record in laboratory.log("simbad")}
    assert paths == {mode}


def test_names_of_columns_and_positions_without_id(read: Read, tap: Callable[..., Any]) -> None:
    adql = "SELECT ra AS lon, dec AS lat FROM basic WHERE main_id = 'T 3'"
    sample = read(tap(adql, ra="lon", dec="lat"))
    assert sample.targets["objectid"].to_pylist() == ["J040030.00-080000.0"]


def test_cuts_are_made_on_the_frozen_table(
    read: Read, tap: Callable[..., Any], laboratory: Laboratory
) -> None:
    source = tap("SELECT main_id, ra, dec FROM basic WHERE ra > 0", id="main_id")
    everything = read(source).targets.num_rows
    laboratory.clear_log()
    cone = {"ra_deg": 80.0, "dec_deg": -4.0, "radius_deg": 1.0}
    assert read({**source, "cone": cone}).targets["objectid"].to_pylist() == ["T 4"]
    assert 3 == read({**source, "max_targets": 3}).targets.num_rows < everything
    assert laboratory.log() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adql": "SELECT nonsense FROM basic"}, "nonsense"),
        ({"adql": "SELECT ra, dec FROM nowhere"}, "nowhere"),
        ({"adql": "SELECT ra FROM basic"}, "column 'dec' is missing in the reply"),
        ({"adql": "SELECT main_id AS ra, dec FROM basic"}, "'ra' has type char.*expected a numb"),
        ({"adql": "SELECT ra, dec FROM basic WHERE ra > 400"}, "found no row in the reply"),
        ({"maxrec": 4}, "cut off after 4 rows"),
        ({"auth": {"token_env": "NO_SUCH_TOKEN_HERE"}}, "found nothing in environment variable"),
    ],
)
def test_wrong_queries(
    options: Mapping[str, Any], message: str, read: Read, tap: Callable[..., Any]
) -> None:
    with pytest.raises(SampleError, match=message) as caught:
        read(tap(**{"adql": "SELECT ra, dec FROM basic WHERE ra > 0", **options}))
    assert str(caught.value).startswith("tap: ")


def test_texts_and_names_in_a_query() -> None:
    assert adql_text("O'Neill ''") == "'O''Neill '''''"
    assert adql_name('a"b') == '"a""b"'
