"""Kowalski: penquins' searches, filters, limits, tokens, and replies without data."""

import json
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from laboratory_sky import TOKEN
from penquins import Kowalski

from laboratory import Laboratory
from laboratory.mongo import QueryError, matches, project, sorted_by

DOCUMENT = {"_id": "7", "candid": 7, "candidate": {"fid": 2, "rb": 0.5, "ssnamenr": "null"}}


@pytest.fixture(scope="module")
def alerts(small_sky: Path) -> pd.DataFrame:
    return pd.read_parquet(small_sky / "services" / "kowalski" / "ZTF_alerts.parquet")


@pytest.fixture(scope="module")
def of_asteroid(alerts: pd.DataFrame) -> pd.Series:
    """An alert that has others beside it."""
    return alerts[alerts["ssnamenr"] != "null"].iloc[0]


@pytest.fixture
def kowalski(laboratory: Laboratory) -> Kowalski:
    return connect(laboratory, token=TOKEN)


def connect(laboratory: Laboratory, **credentials: str) -> Kowalski:
    host, port = laboratory.base.removeprefix("http://").split(":")
    return Kowalski(protocol="http", host=host, port=port, max_retries=0, **credentials)


def ask(client: Kowalski, kind: str, query: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    return client.query({"query_type": kind, "query": query, "kwargs": kwargs})["default"]


def cone(positions: Any, radius: float, unit: str = "arcsec", **options: Any) -> dict[str, Any]:
    coordinates = {"radec": positions, "cone_search_radius": radius, "cone_search_unit": unit}
    return {"object_coordinates": coordinates, "catalogs": {"ZTF_alerts": options}}


def find(conditions: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"catalog": "ZTF_alerts", "filter": conditions, **options}


def circle(ra_deg: float, dec_deg: float, radius_arcsec: float) -> dict[str, Any]:
    sphere = {"$centerSphere": [[ra_deg - 180, dec_deg], math.radians(radius_arcsec / 3600)]}
    return {"coordinates.radec_geojson": {"$geoWithin": sphere}}


def test_penquins_connects(kowalski: Kowalski) -> None:
    assert kowalski.ping()
    assert kowalski.get_catalogs() == ["ZTF_alerts"]


def test_cones_give_alerts_by_name(
    kowalski: Kowalski, alerts: pd.DataFrame, laboratory: Laboratory
) -> None:
    some = alerts.iloc[::100]
    names = [f"C/2020 F3.{i}" for i in range(len(some))]
    positions = dict(zip(names, some[["ra", "dec"]].to_numpy().tolist(), strict=True))
    options = {"projection": {"_id": 0, "candid": 1, "candidate.jd": 1}}
    reply = ask(kowalski, "cone_search", cone(positions, 0.01, **options))
    assert reply["status"] == "success"
    found = reply["data"]["ZTF_alerts"]
    # Kowalski's keys have no dots.
    assert list(found) == [name.replace(".", "_") for name in names]
    for documents, alert in zip(found.values(), some.itertuples(), strict=True):
        assert {"candid": alert.candid, "candidate": {"jd": alert.jd}} in documents
    record = laboratory.log("kowalski")[-1]
    assert record["rows"] == sum(map(len, found.values()))
    assert record["path"] == "/api/queries"


def test_units_and_limits_of_a_search(kowalski: Kowalski, of_asteroid: pd.Series) -> None:
    near = of_asteroid
    position = [[near["ra"], near["dec"]]]
    sizes = [
        len(*ask(kowalski, "cone_search", cone(position, *size))["data"]["ZTF_alerts"].values())
        for size in ((90, "arcsec"), (1.5, "arcmin"), (0.025, "deg"), (4.36332313e-4, "rad"))
    ]
    assert len(set(sizes)) == 1
    assert sizes[0] > 1
    reply = ask(kowalski, "cone_search", cone(position, 90), limit=1, skip=1)
    assert len(*reply["data"]["ZTF_alerts"].values()) == 1


def test_neighbours_come_nearest_first(kowalski: Kowalski, of_asteroid: pd.Series) -> None:
    near = of_asteroid
    query = {"radec": {"here": [near["ra"], near["dec"]]}, "catalogs": {"ZTF_alerts": {}}}
    query |= {"max_distance": 90, "distance_units": "arcsec"}
    found = ask(kowalski, "near", query)["data"]["ZTF_alerts"]["here"]
    assert found[0]["candid"] == near["candid"]
    assert len(found) > 1
    beyond = ask(kowalski, "near", {**query, "min_distance": 0.1}, limit=1)
    assert beyond["data"]["ZTF_alerts"]["here"][0]["candid"] != near["candid"]


def test_a_condition_may_have_circles(
    kowalski: Kowalski, alerts: pd.DataFrame, laboratory: Laboratory
) -> None:
    some = alerts.iloc[::50]
    positions = some[["ra", "dec"]].to_numpy().tolist()
    reply = ask(kowalski, "cone_search", cone(positions, 3600))["data"]["ZTF_alerts"]
    expected = {document["candid"] for documents in reply.values() for document in documents}
    assert len(expected) > len(some)
    anywhere = {"$or": [circle(*position, 3600) for position in positions]}
    found = ask(kowalski, "find", find(anywhere))["data"]
    assert {document["candid"] for document in found} == expected
    assert len(found) == len(expected)
    targets = [one.split() for one in laboratory.log("kowalski")[-1]["targets"]]
    np.testing.assert_allclose(np.array(targets, float), positions, atol=1e-9)
    until = {"candidate.jd": {"$gte": 2458600.0, "$lt": 2458900.0}}
    found = ask(kowalski, "find", find({"$and": [anywhere, until]}))["data"]
    times = dict(zip(alerts["candid"], alerts["jd"], strict=True))
    assert {document["candid"] for document in found} == {
        candid for candid in expected if 2458600 <= times[candid] < 2458900
    }
    assert laboratory.log("kowalski")[-1]["times"] == ["2458600.0", "2458900.0"]


def test_documents_are_those_of_the_alerts(kowalski: Kowalski, alerts: pd.DataFrame) -> None:
    alert = alerts.iloc[7]
    found = ask(kowalski, "find_one", find({"candid": int(alert["candid"])}))["data"]
    assert found["candidate"]["magpsf"] == pytest.approx(alert["magpsf"])
    assert found["objectId"] == alert["objectId"]
    assert found["coordinates"]["radec_geojson"]["coordinates"] == [alert["ra"] - 180, alert["dec"]]
    conditions = {"candidate.jd": {"$gte": 2458600.0, "$lt": 2458900.0}, "candidate.fid": 1}
    expected = alerts[alerts["jd"].between(2458600, 2458900, "left") & (alerts["fid"] == 1)]
    assert ask(kowalski, "count_documents", find(conditions))["data"] == len(expected)
    query = find(conditions, projection={"candid": 1, "_id": 0})
    found = ask(kowalski, "find", query, sort=[["candidate.jd", -1]], limit=3)["data"]
    newest = expected.sort_values("jd", ascending=False)["candid"].head(3).tolist()
    assert [document["candid"] for document in found] == newest


@pytest.mark.parametrize(
    ("kind", "query", "message"),
    [
        ("find", find({"candidate.fid": {"$near": 1}}), "unknown operator: \\$near"),
        ("find", {"catalog": "ZTF_alerts"}, "KeyError"),
        ("find", find({"coordinates.radec_geojson": {"$geoWithin": {"$disc": 1}}}), "\\$disc"),
        ("find", find(circle(400, 0, 1)), "out of bounds"),
        ("guess", {}, "query_type guess not in"),
        ("cone_search", cone("somewhere", 1), "Unsupported object coordinates"),
        ("cone_search", cone([[1, 2]], 1, "miles"), "miles"),
    ],
)
def test_an_error_has_no_data(kowalski: Kowalski, kind: str, query: Any, message: str) -> None:
    reply = ask(kowalski, kind, query)
    assert set(reply) == {"status", "message"}
    assert reply["status"] == "error"
    assert re.search(message, reply["message"])


def test_tokens_are_given_out_and_expire(laboratory: Laboratory) -> None:
    client = connect(laboratory, username="someone", password=TOKEN)
    assert ask(client, "count_documents", find({}))["status"] == "success"
    for token, message in (
        (f"{TOKEN}@1000000000", "token has expired"),
        (f"Bearer {TOKEN}@{time.time() - 5:.0f}", "token has expired"),
        ("another", "token is invalid"),
        (f"{TOKEN}@soon", "token is invalid"),
    ):
        client.instances["default"]["headers"] = {"Authorization": token}
        reply = ask(client, "count_documents", find({}))
        assert reply == {"status": "error", "message": message}
        assert not client.ping()
    with pytest.raises(ValueError, match="wrong credentials"):
        connect(laboratory, username="someone", password="guess")
    address = f"{laboratory.url('kowalski')}/api/queries"
    assert requests.post(address, json={}, timeout=10).status_code == 401


def test_a_large_body_is_refused(laboratory: Laboratory) -> None:
    address = f"{laboratory.url('kowalski')}/api/queries"
    headers = {"Authorization": TOKEN}
    body = json.dumps({"query_type": "find", "query": find({"a": "b" * 2**20})})
    reply = requests.post(address, body, headers=headers, timeout=10)
    assert reply.status_code == 413
    assert reply.text.startswith("Maximum request body size 1048576 exceeded, actual body size 104")


def test_a_slow_query_ends_at_its_limit(kowalski: Kowalski, laboratory: Laboratory) -> None:
    laboratory.faults([{"service": "kowalski", "action": "job_seconds", "seconds": 60}])
    begin_s = time.monotonic()
    reply = ask(kowalski, "count_documents", find({}), max_time_ms=50)
    assert reply == {
        "status": "error",
        "message": "ExecutionTimeout: operation exceeded time limit",
    }
    assert time.monotonic() - begin_s < 5


def test_faults_strike(kowalski: Kowalski, laboratory: Laboratory, of_asteroid: pd.Series) -> None:
    alert = of_asteroid
    position = {"here": [float(alert["ra"]), float(alert["dec"])]}
    candid = int(alert["candid"])
    laboratory.faults(
        [
            {"service": "kowalski", "nth": 1, "action": "votable_error", "message": "down"},
            {"service": "kowalski", "action": "missing_target"}
            | {"position": [alert["ra"], alert["dec"], 0.01]},
        ]
    )
    assert ask(kowalski, "cone_search", cone(position, 90)) == {
        "status": "error",
        "message": "down",
    }
    found = ask(kowalski, "cone_search", cone(position, 90))["data"]["ZTF_alerts"]["here"]
    assert found
    assert candid not in [document["candid"] for document in found]


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"candid": 7, "candidate.fid": 2}, True),
        ({"candidate.fid": {"$gt": 1, "$lte": 2}}, True),
        ({"candidate.fid": {"$gt": 2}}, False),
        ({"candidate.fid": {"$in": [1, 2]}}, True),
        ({"candidate.fid": {"$nin": [1, 2]}}, False),
        ({"candidate.rb": {"$not": {"$gte": 0.5}}}, False),
        ({"candidate.drb": {"$exists": False}, "candid": {"$exists": True}}, True),
        ({"candidate.drb": None}, True),
        ({"candidate.drb": {"$lt": 1}}, False),
        ({"candidate.ssnamenr": {"$gt": 1}}, False),
        ({"candidate.ssnamenr": {"$ne": "null"}}, False),
        ({"candidate.ssnamenr": {"$regex": "^NU", "$options": "i"}}, True),
        ({"$or": [{"candid": 8}, {"candidate.fid": {"$eq": 2}}]}, True),
        ({"$and": [{"candid": 7}, {"$nor": [{"candidate.fid": 2}]}]}, False),
    ],
)
def test_filters_are_those_of_the_database(conditions: dict[str, Any], fits: bool) -> None:
    assert matches(DOCUMENT, conditions) is fits


def test_wrong_filters_and_projections_are_explained() -> None:
    with pytest.raises(QueryError, match="unknown top level operator: \\$where"):
        matches(DOCUMENT, {"$where": "1"})
    with pytest.raises(QueryError, match="non-empty array"):
        matches(DOCUMENT, {"$or": []})
    with pytest.raises(QueryError, match="inclusion and exclusion"):
        project(DOCUMENT, {"candid": 1, "candidate": 0})


def test_projections_and_orders_are_those_of_the_database() -> None:
    assert project(DOCUMENT, {}) == DOCUMENT
    assert project(DOCUMENT, {"candidate.fid": 1}) == {"_id": "7", "candidate": {"fid": 2}}
    assert project(DOCUMENT, {"candidate": 0, "_id": 0}) == {"candid": 7}
    assert project(DOCUMENT, {"candidate.rb": 0})["candidate"] == {"fid": 2, "ssnamenr": "null"}
    documents = [{"_id": i, "a": a} for i, a in enumerate([2, None, 1])] + [{"_id": 3}]
    assert [d["_id"] for d in sorted_by(documents, [["a", 1]])] == [1, 3, 2, 0]
    assert [d["_id"] for d in sorted_by(documents, [["$natural", -1]])] == [3, 2, 1, 0]
