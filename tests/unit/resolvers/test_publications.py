"""Published samples by name and by bibcode, from NED, SIMBAD and VizieR."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from listed_targets import TARGETS

from laboratory import Laboratory
from lightloom.errors import SampleError
from lightloom.resolvers.publications import Publication, list_publication
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.literature import FROZEN, vizier_catalogue
from lightloom.sample.read import Sample
from lightloom.sample.sources import FoundTables

Find = Callable[..., FoundTables]
Read = Callable[..., Sample]

KNOWN = yaml.safe_load((FROZEN / "literature.yaml").read_text(encoding="utf-8"))


def literature(name: str, **options: Any) -> dict[str, Any]:
    return {"kind": "literature", "name": name, **options}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_named_sample_is_asked_of_its_service(
    name: str, read: Read, laboratory: Laboratory
) -> None:
    sample = read(literature(name))
    assert sample.targets.num_rows > 0
    assert sample.targets["labels"][0].as_py() == [KNOWN[name]["title"]]
    asked = {record["service"] for record in laboratory.log()}
    assert asked == (set() if (FROZEN / f"{name}.csv").exists() else {KNOWN[name]["service"]})


def ids(sample: Sample) -> list[str]:
    return sorted(sample.targets["objectid"].to_pylist())


def test_conditions_select_rows_whatever_their_place(read: Read) -> None:
    # The two are one target, 0.7 arcsec apart.
    lamassa = read(literature("lamassa2015"))
    assert (lamassa.targets.num_rows, lamassa.merged.num_rows) == (1, 1)
    # Of the twelve every second has CLQ_ > 0, and half of these Nsigma > 3.
    numbers = [n for n in range(1, 13) if n % 2 > 0 and 1.5 + n % 4 > 3]
    expected = sorted(TARGETS[number - 1].objectid for number in numbers)
    assert ids(read(literature("macleod2019"))) == expected
    notes = sorted(TARGETS[number - 1].objectid for number in range(3, 13, 3))
    assert ids(read(literature("green2022"))) == notes


@pytest.mark.parametrize(
    ("service", "column"), [("ned", "Object Name"), ("simbad", "main_id"), ("vizier", "SDSS")]
)
def test_any_bibcode_of_any_service(service: str, column: str, read: Read) -> None:
    bibcode = "2019ApJ...874....8M" if service == "vizier" else "2018ApJ...862..109Y"
    options: dict[str, Any] = {"service": service, "where": [[column, "~", "^T [1-4]$"]]}
    if service == "vizier":
        options["catalogue"] = "J/ApJ/874/8/table2"
    assert ids(read(literature(bibcode, **options))) == ["T 1", "T 2", "T 3", "T 4"]


def test_the_number_that_is_known_is_compared(find: Find, caplog: pytest.LogCaptureFixture) -> None:
    find(literature("lyu2022"), literature("ruan2016"))
    (message,) = caplog.messages
    assert message == "literature:lyu2022: found 12 objects, expected 68"


def test_wrong_names_and_conditions(find: Find) -> None:
    with pytest.raises(SampleError, match="found 'yang2019', did you mean 'yang2018'"):
        find(literature("yang2019"))
    with pytest.raises(SampleError, match=r"No objects found for refcode 1999A&A\.+1X\."):
        find(literature("1999A&A..........1X"))
    wrong = {
        "no such": [["no such", ">", 1]],
        r"that fulfils .* among 12": [["Object Name", "==", "nobody"]],
        "holds text, expected a value of that kind, found 3": [["Object Name", ">", 3]],
    }
    for message, where in wrong.items():
        with pytest.raises(SampleError, match=message):
            find(literature("2018ApJ...862..109Y", where=where))


def test_a_table_of_vizier_has_to_be_plain(find: Find) -> None:
    # Without a condition both tables of the catalogue would do.
    with pytest.raises(SampleError, match=r"found 2 tables .*key catalogue.*874/8/table1 \(recno"):
        find(literature("2019ApJ...874....8M", service="vizier"))
    with pytest.raises(SampleError, match="catalogue J/ApJ/1/1 was not found"):
        find(literature("2019ApJ...874....8M", service="vizier", catalogue="J/ApJ/1/1"))


@pytest.mark.parametrize(
    ("bibcode", "catalogue"),
    [
        ("2019ApJ...874....8M", "J/ApJ/874/8"),
        ("2022ApJ...933..180G", "J/ApJ/933/180"),
        ("2019A&A...627A..33D", "J/A+A/627/A33"),
        ("2022MNRAS.513L..57L", "J/MNRAS/513/L57"),
        ("yang2018", None),
    ],
)
def test_catalogues_of_bibcodes(bibcode: str, catalogue: str | None) -> None:
    assert vizier_catalogue(bibcode) == catalogue


@pytest.mark.parametrize("service", ["ned", "simbad"])
@pytest.mark.parametrize(
    "bibcode",
    ["' OR 1=1 --", "x'; DROP TABLE ref; --", "2018ApJ...862..109Y' OR ''='", "a&b=c#d?e%27", '"'],
)
def test_a_bibcode_is_never_more_than_a_text(
    service: str, bibcode: str, answers: FrozenAnswers, laboratory: Laboratory
) -> None:
    spec = replace(
        answers.resolvers[service],
        limits=answers.resolvers[service].limits | {"sync_targets": 9},
        options={"maxrec": 1000},
    )
    # Both know no such publication; a query that it had changed would list all objects, or fail
    # otherwise.
    message = "No objects found" if service == "ned" else "found no object among 0"
    with pytest.raises(Exception, match=message):
        list_publication(Publication(bibcode, service), spec, Path("state"))
    assert {record["status"] for record in laboratory.log(service)} == {200}
