"""The bill of materials is whole and the same each time; every package is accounted for."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lightloom.sbom import LOCK, bill, installed, licences_of, problems, read_lock
from project import REPOSITORY

LICENCES = yaml.safe_load((REPOSITORY / ".ci" / "licences.yaml").read_text())


def test_every_package_is_locked_and_may_be_used() -> None:
    found = problems(read_lock(), set(LICENCES["allowed"]), LICENCES["exceptions"])
    assert list(found) == []
    assert all(one["licence"] and one["reason"] for one in LICENCES["exceptions"].values())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("version", "requests 9.9.9: installed, but not in the lock file|requests .*: installed"),
        ("licence", "requests: found the licence Apache"),
        ("exception", "requests: its licences are allowed"),
    ],
)
def test_what_is_wrong_is_found(change: str, found: str) -> None:
    pins, allowed = read_lock(), set(LICENCES["allowed"])
    exceptions = dict(LICENCES["exceptions"])
    if change == "version":
        pins = [pin for pin in pins if pin.name != "requests"]
    elif change == "licence":
        allowed -= set(licences_of(installed()["requests"]))
    else:
        exceptions["requests"] = {"licence": "Apache-2.0", "reason": "none"}
    assert any(re.match(found, line) for line in problems(pins, allowed, exceptions))


def test_the_bill_has_all_of_the_lock_file(tmp_path: Path) -> None:
    paths = [tmp_path / "1.json", tmp_path / "2.json"]
    for path in paths:
        subprocess.run([sys.executable, "-m", "lightloom.sbom", str(path)], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    document = json.loads(paths[0].read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"]
    )
    text = LOCK.read_text()
    components = document["components"]
    assert len(components) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) > 200
    digests = [one["content"] for component in components for one in component["hashes"]]
    assert sorted(digests) == sorted(re.findall(r"sha256:(\w{64})", text))
    assert all(component["hashes"] for component in components)
    references = [component["bom-ref"] for component in components]
    assert len(set(references)) == len(references)
    (requests,) = (one for one in components if one["name"] == "requests")
    assert requests["purl"] == f"pkg:pypi/requests@{requests['version']}"
    assert requests["licenses"]


def test_another_lock_file_is_another_bill() -> None:
    pins = read_lock()
    assert bill(pins)["serialNumber"] != bill(pins[1:])["serialNumber"]
