"""Each fault as a client sees it, and which requests a rule strikes."""

import io
import socket
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import pyvo
import requests
from astropy.io.votable import parse
from astropy.table import Table

from laboratory import Laboratory
from laboratory.faults import FaultScript, FaultScriptError, Rule

# pyvo leaves the connections of failed requests to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

QUERY = "SELECT trigger_name, ra, dec, time FROM fermigtrig ORDER BY trigger_name"


def ask(laboratory: Laboratory, query: str = QUERY, **options: Any) -> requests.Response:
    parameters = {"QUERY": query, "LANG": "ADQL", "REQUEST": "doQuery"}
    options.setdefault("timeout", 10)
    return requests.get(laboratory.url("heasarc") + "/tap/sync", parameters, **options)


def strike(laboratory: Laboratory, **rule: Any) -> None:
    laboratory.faults([{"service": "heasarc", **rule}])


def table_of(reply: requests.Response) -> Table:
    return parse(io.BytesIO(reply.content)).get_first_table().to_table()


def test_timeout_hangs_until_the_client_gives_up(laboratory: Laboratory) -> None:
    strike(laboratory, action="timeout")
    with pytest.raises(requests.ReadTimeout):
        ask(laboratory, timeout=0.2)
    end_s = time.monotonic() + 5
    while not laboratory.log() and time.monotonic() < end_s:
        time.sleep(0.01)
    [record] = laboratory.log()
    assert record["fault"] == "timeout"
    assert record["status"] == 0
    assert 0.15 < record["end_s"] - record["start_s"] < 2


def test_timeout_ends_after_its_seconds(laboratory: Laboratory) -> None:
    strike(laboratory, action="timeout", seconds=0.1)
    with pytest.raises(requests.ConnectionError, match="RemoteDisconnected"):
        ask(laboratory)


def test_reset_is_one(laboratory: Laboratory) -> None:
    strike(laboratory, action="reset")
    with pytest.raises(requests.ConnectionError, match="ConnectionResetError"):
        ask(laboratory)
    port = int(laboratory.base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /heasarc/tap/availability HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1000)


@pytest.mark.parametrize("status", [429, 503, 500, 404])
def test_status_with_seconds_to_wait(laboratory: Laboratory, status: int) -> None:
    strike(laboratory, action="status", status=status, retry_after_s=2, message="Too <busy>")
    reply = ask(laboratory)
    assert reply.status_code == status
    assert reply.headers["retry-after"] == "2"
    assert reply.text == "Too <busy>\n"


def test_status_with_date_to_wait_for(laboratory: Laboratory) -> None:
    strike(laboratory, action="status", status=429, retry_after_s=60, retry_after_date=True)
    moment = parsedate_to_datetime(ask(laboratory).headers["retry-after"])
    assert 57 < moment.timestamp() - time.time() < 61


def test_slow_body_is_whole(laboratory: Laboratory) -> None:
    whole = ask(laboratory).content
    strike(laboratory, action="slow", bytes_per_s=2 * len(whole))
    begin_s = time.monotonic()
    slow = ask(laboratory).content
    assert 0.45 < time.monotonic() - begin_s < 3
    assert slow == whole


@pytest.mark.parametrize(("rule", "share"), [({"fraction": 0.4}, 0.4), ({"after_bytes": 100}, 0)])
def test_cut_body_keeps_its_announced_length(
    laboratory: Laboratory, rule: Mapping[str, float], share: float
) -> None:
    whole = len(ask(laboratory).content)
    strike(laboratory, action="cut", **rule)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        ask(laboratory)
    record = laboratory.log()[-1]
    assert record["bytes_out"] == (int(whole * share) or 100)
    assert record["status"] == 200


def test_error_document(laboratory: Laboratory) -> None:
    strike(laboratory, action="votable_error", message="no space on device")
    reply = ask(laboratory)
    [info] = parse(io.BytesIO(reply.content)).resources[0].infos
    assert (reply.status_code, info.name, info.value) == (200, "QUERY_STATUS", "ERROR")
    assert info.content == "no space on device"


def test_html_in_place_of_votable(laboratory: Laboratory) -> None:
    strike(laboratory, action="html")
    reply = ask(laboratory)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert "<h1>Maintenance</h1>" in reply.text


def test_overflow(laboratory: Laboratory) -> None:
    whole = table_of(ask(laboratory))
    strike(laboratory, action="overflow", fraction=0.25)
    reply = ask(laboratory)
    assert len(table_of(reply)) == len(whole) // 4
    statuses = [info.value for info in parse(io.BytesIO(reply.content)).resources[0].infos]
    assert statuses == ["OK", "OVERFLOW"]


def test_wrong_columns(laboratory: Laboratory) -> None:
    strike(
        laboratory,
        action="wrong_columns",
        rename={"ra": "right_ascension"},
        drop=["dec"],
        retype={"time": "string"},
        units={"time": "s"},
    )
    found = table_of(ask(laboratory))
    assert found.colnames == ["trigger_name", "right_ascension", "time"]
    assert found["time"].dtype.kind in "OU"
    assert found["time"].unit == "s"


def test_missing_target_by_identifier_and_by_position(laboratory: Laboratory) -> None:
    whole = table_of(ask(laboratory))
    strike(laboratory, action="missing_target", target="bn000007")
    assert set(whole["trigger_name"]) - set(table_of(ask(laboratory))["trigger_name"]) == {
        "bn000007"
    }
    position = [float(whole["ra"][9]), float(whole["dec"][9]), 1.0]
    strike(laboratory, action="missing_target", position=position)
    assert set(whole["trigger_name"]) - set(table_of(ask(laboratory))["trigger_name"]) == {
        "bn000009"
    }


def test_out_of_service_for_a_while(laboratory: Laboratory) -> None:
    strike(laboratory, action="out_of_service", seconds=0.5)
    assert [ask(laboratory).status_code for _ in range(2)] == [503, 503]
    time.sleep(0.6)
    assert ask(laboratory).status_code == 200


def test_out_of_service_until_healed(laboratory: Laboratory) -> None:
    strike(laboratory, action="out_of_service", status=500)
    assert ask(laboratory).status_code == 500
    other = requests.get(laboratory.url("nsc") + "/tap/availability", timeout=10)
    assert other.status_code == 200
    laboratory.faults([])
    assert ask(laboratory).status_code == 200


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        ({"first": 2}, [1, 2]),
        ({"nth": 3}, [3]),
        ({"every": 2}, [2, 4, 6]),
        ({"path": "^/tap/async"}, []),
        ({"path": "sync$", "method": "GET", "nth": 1}, [1]),
        ({"method": "POST"}, []),
    ],
)
def test_which_requests_are_struck(
    laboratory: Laboratory, rule: Mapping[str, Any], struck: list[int]
) -> None:
    strike(laboratory, action="status", **rule)
    statuses = [ask(laboratory).status_code for _ in range(6)]
    assert [number for number, status in enumerate(statuses, 1) if status == 503] == struck
    [report] = laboratory.fault_report()
    assert report["applied"] == len(struck)


def test_target_may_stand_in_query_or_near_a_position(laboratory: Laboratory) -> None:
    cone = "SELECT ra FROM fermigtrig WHERE DISTANCE(ra, dec, {}, {}) < 1 AND 1 = "
    cone += "CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {}, {}, 1))"
    strike(laboratory, action="status", position=[10, 20, 3600])
    assert ask(laboratory, cone.format(10.5, 20.5, 10.5, 20.5)).status_code == 503
    assert ask(laboratory, cone.format(12, 20, 12, 20)).status_code == 200
    strike(laboratory, action="status", target=["bn000001", "bn000002"])
    listed = "SELECT ra FROM fermigtrig WHERE trigger_name IN ('bn000002', 'x')"
    assert ask(laboratory, listed).status_code == 503
    assert ask(laboratory).status_code == 200


def test_target_may_be_a_position_in_an_upload(laboratory: Laboratory) -> None:
    service = pyvo.dal.TAPService(laboratory.url("heasarc") + "/tap")
    uploads = {"t": Table({"target": ["A", "B"], "ra": [10.0, 200.0], "dec": [20.0, -5.0]})}
    strike(laboratory, action="status", position=[200.0, -5.0002, 1.0])
    with pytest.raises(pyvo.dal.DALServiceError, match="being maintained"):
        service.run_sync("SELECT * FROM TAP_UPLOAD.t", uploads=uploads)
    uploads["t"].remove_row(1)
    assert len(service.run_sync("SELECT * FROM TAP_UPLOAD.t", uploads=uploads)) == 1


class Asked:
    service, method, path = "nsc", "POST", "/tap/sync"

    def __init__(self, name: str) -> None:
        self.targets = [name]
        self.fingerprint = name

    def is_near(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> bool:
        raise AssertionError("no rule of this test has a position")


def struck_by(script: FaultScript, names: list[str]) -> dict[str, int]:
    return {name: script.choose(Asked(name)) is not None for name in names}


def test_chance_depends_on_seed_and_question_and_not_on_order() -> None:
    names = [f"T{number}" for number in range(400)]
    rule = Rule(action="reset", probability=0.3, seed=4)
    forwards = struck_by(FaultScript([rule]), names)
    backwards = struck_by(FaultScript([rule]), names[::-1])
    other = struck_by(FaultScript([Rule(action="reset", probability=0.3, seed=5)]), names)
    assert forwards == backwards != other
    assert 80 < sum(forwards.values()) < 160


def test_chance_differs_when_asked_again() -> None:
    script = FaultScript([Rule(action="reset", probability=0.5)])
    rounds = [struck_by(script, ["T1", "T2"]) for _ in range(40)]
    assert 10 < sum(found["T1"] for found in rounds) < 30


def test_first_rule_wins_and_all_count() -> None:
    script = FaultScript([Rule(action="reset", nth=2), Rule(action="html", nth=2)])
    chosen = [script.choose(Asked("T")) for _ in range(3)]
    assert [rule and rule.action for rule in chosen] == [None, "reset", None]
    assert [entry["applied"] for entry in script.report()] == [1, 0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"action": "explode"}, "action must be one of"),
        ({"action": "reset", "sevice": "nsc"}, r"unknown keys \['sevice'\]"),
        ({"action": "reset", "path": "("}, "path"),
        ({"action": "status", "status": "503"}, "status must be an integer"),
        ({"action": "timeout", "seconds": "2"}, "seconds must be a number"),
        ({"action": "status", "retry_after_s": "2"}, "retry_after_s must be a number or null"),
        ({"action": "job_seconds"}, "needs seconds"),
        ({"action": "wrong_columns", "retype": {"ra": "real"}}, "retype: .*real"),
        ({"action": "slow", "late": True}, r"late is for \['reset', 'status', 'timeout'\]"),
    ],
)
def test_wrong_rules_are_explained(document: Mapping[str, Any], message: str) -> None:
    with pytest.raises(FaultScriptError, match=message):
        Rule.read(dict(document))


def test_wrong_rules_leave_the_present_ones(laboratory: Laboratory) -> None:
    strike(laboratory, action="html")
    with pytest.raises(ValueError, match="action must be one of"):
        laboratory.faults([{"action": "explode"}])
    assert ask(laboratory).headers["content-type"].startswith("text/html")


def test_late_faults_let_the_service_work(laboratory: Laboratory) -> None:
    jobs = laboratory.url("nsc") + "/tap/async"
    before = requests.get(jobs, timeout=10).text.count("<uws:jobref")
    laboratory.faults([{"action": "reset", "method": "POST", "late": True}])
    with pytest.raises(requests.ConnectionError):
        requests.post(jobs, {"QUERY": "SELECT id FROM object"}, timeout=10)
    assert requests.get(jobs, timeout=10).text.count("<uws:jobref") == before + 1


def test_rates_and_concurrency_are_measured(laboratory: Laboratory) -> None:
    strike(laboratory, action="timeout", seconds=0.3)

    def fail() -> None:
        with pytest.raises(requests.ConnectionError):
            ask(laboratory)

    threads = [threading.Thread(target=fail) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    laboratory.faults([])
    ask(laboratory)
    assert laboratory.max_concurrent("heasarc") == 5
    assert laboratory.max_requests_in_window(0.25) == 5
    assert laboratory.max_requests_in_window(10.0) == 6
    assert laboratory.max_concurrent("nsc") == 0
