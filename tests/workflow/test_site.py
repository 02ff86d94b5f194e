"""The documentation site is built without network, and needs none when it is read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from project import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            *(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)),
            *("--config-file", str(REPOSITORY / "docs" / "site" / "mkdocs.yml")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    loaded = re.compile(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|url\((?:https?:)?//")
    sheets = re.compile(
        r"<link(?=[^>]+rel=\"(?:stylesheet|preload|icon|preconnect))[^>]+href=\"http"
    )
    for page in pages:
        text = page.read_text()
        assert not loaded.search(text), page
        assert not sheets.search(text), page


def test_the_reference_is_that_of_the_code(site: Path) -> None:
    assert "time_mjd_tdb" in (site / "reference" / "tables.html").read_text()
    assert "lightloom status" in (site / "reference" / "commands.html").read_text()
    assert "sample.merge_radius_arcsec" in (site / "configuration.html").read_text()
    python = (site / "reference" / "python.html").read_text()
    assert "lightloom.archives.base.Archive" in python
