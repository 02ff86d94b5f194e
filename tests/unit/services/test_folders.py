"""Where the jobs of services leave each other word."""

from dataclasses import replace
from pathlib import Path

from lightloom.services.folders import archive_folder, service_folder
from small_server import counter_spec

STATE = Path("state")


def test_archives_with_one_endpoint_have_one_governor() -> None:
    one = counter_spec("https://tap.example.org/tap")
    other = replace(one, name="other", endpoint="https://tap.example.org/tap/")
    assert service_folder(STATE, one) == service_folder(STATE, other)
    assert archive_folder(STATE, one) != archive_folder(STATE, other)


def test_other_endpoints_have_governors_of_their_own() -> None:
    endpoints = ["https://a.org/tap", "https://a.org/tap2", "http://a.org/tap", "https://b.org/tap"]
    folders = {service_folder(STATE, counter_spec(endpoint)) for endpoint in endpoints}
    assert len(folders) == len(endpoints)
    assert all(folder.parent == STATE for folder in folders)
    assert {folder.name.rpartition("-")[0] for folder in folders} == {"a.org", "b.org"}
