"""The Hubble Catalog of Variables: position, filters, order, pages and formats."""

import io
from typing import Any

import pytest
import requests
from astropy.io.votable import parse_single_table
from astropy.table import Table

from laboratory import Laboratory


def ask(laboratory: Laboratory, path: str, **parameters: Any) -> requests.Response:
    address = f"{laboratory.url('hcv')}/api/v0.1/hsc/v3/{path}"
    return requests.get(address, parameters, timeout=10)


def rows(laboratory: Laboratory, path: str, **parameters: Any) -> list[list[str]]:
    reply = ask(laboratory, path, **parameters)
    assert reply.status_code == 200, reply.text
    return [line.replace('"', "").split(",") for line in reply.text.splitlines()[1:]]


def test_cone_gives_the_nearest_first(laboratory: Laboratory) -> None:
    cone = {"ra": 10.0001, "dec": 5, "columns": "[MatchID,Filter]"}
    wide = rows(laboratory, "hcvsummary/magaper2.csv", radius=0.001, **cone)
    assert wide == [["2", "ACS_F814W"], ["1", "ACS_F606W"], ["1", "ACS_F814W"]]
    assert len(rows(laboratory, "hcvsummary/magaper2.csv", radius=0.00005, **cone)) == 1
    assert laboratory.log("hcv")[0]["targets"] == ["10.0001 5"]


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ({"MatchID": 1}, 6),
        ({"MatchID": "1,2"}, 10),
        ({"matchid": 1, "Filter": "ACS_F814W"}, 3),
        ({"MJD.gte": 52_008.5}, 2),
        ({"MJD.gt": 52_008.5}, 1),
        ({"MJD.lt": 52_002.5, "Filter": "ACS_F606W"}, 2),
        ({"MatchID.neq": 1}, 4),
        ({"MatchID": 77}, 0),
    ],
)
def test_filters(laboratory: Laboratory, filters: dict[str, Any], number: int) -> None:
    assert len(rows(laboratory, "hcv.csv", **filters)) == number


def test_nulls_pass_no_comparison(laboratory: Laboratory) -> None:
    assert len(rows(laboratory, "hcvsummary/magaper2.csv", **{"MeanCorrMag.lt": 99})) == 3


def test_order_and_pages(laboratory: Laboratory) -> None:
    options = {"sort_by": "Filter,-MJD", "columns": "MJD", "pagesize": 4}
    pages = [rows(laboratory, "hcv.csv", page=page, **options) for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [4, 4, 2, 0]
    times = [float(time) for page in pages for [time] in page]
    assert times == [52_002.5, 52_001.5, 52_000.5, *(52_009.5 - n for n in range(7))]


def test_formats_say_the_same(laboratory: Laboratory) -> None:
    csv = Table.read(ask(laboratory, "hcv.csv").text, format="ascii.csv")
    content = ask(laboratory, "hcv.votable").content
    votable = parse_single_table(io.BytesIO(content)).to_table()
    json = ask(laboratory, "hcv.json").json()
    assert list(csv["CorrMag"]) == list(votable["CorrMag"]) == [row[3] for row in json["data"]]
    assert votable["MJD"].unit == "d"
    assert [entry["unit"] for entry in json["info"]] == ["", "", "d", "mag"]


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("hcv.csv", {"Matchid.about": 1}, "unknown operator .about"),
        ("hcv.csv", {"Nope": 1}, "unknown column NOPE; columns: MatchID"),
        ("hcv.csv", {"MatchID": "one"}, "MATCHID=one"),
        ("hcv.csv", {"ra": 1, "dec": 1, "radius": 0.1}, "no positions"),
        ("hcvsummary/magaper2.csv", {"ra": 1, "dec": 1, "radius": 0.6}, "up to 0.5 deg"),
        ("hcvsummary/magaper2.csv", {"ra": "x", "dec": 1, "radius": 0.1}, "ra: expected a number"),
        ("hcvsummary/magaper2.csv", {"ra": 1, "radius": 0.1}, "dec: expected a number, found None"),
    ],
)
def test_wrong_requests_are_explained(
    laboratory: Laboratory, path: str, parameters: dict[str, Any], message: str
) -> None:
    reply = ask(laboratory, path, **parameters)
    assert reply.status_code == 400
    assert message in reply.text


def test_faults_reach_its_rows(laboratory: Laboratory) -> None:
    laboratory.faults([{"service": "hcv", "action": "missing_target", "target": "1"}])
    assert {row[0] for row in rows(laboratory, "hcv.csv")} == {"2"}
    laboratory.faults([{"action": "missing_target", "position": [40.0, -60.0, 1.0]}])
    assert len(rows(laboratory, "hcvsummary/magaper2.csv")) == 3
