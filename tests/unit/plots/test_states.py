"""The page of states has a run's numbers, its failures and what to do, and nothing unescaped."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lightloom import errors
from lightloom.plots.states import MEANINGS, REMEDIES, tabulate_states
from lightloom.schema import STATES
from small_run import SmallRun, lightcurve_row

TITLES = {"ztf": "ZTF <sky>", "unwise": "unWISE"}
EVIL = "<script>alert('x')</script> & \"503\""


def write_page(run: SmallRun, message: str | None) -> str:
    run.add_shard("norder0-npix0", {"a": (45.0, 40.0), "b": (46.0, 40.0)})
    run.add_shard("norder0-npix11", {"c": (315.0, -45.0)})
    first = run.add_part(
        "ztf",
        "norder0-npix0",
        [lightcurve_row("a", "ztf", time_mjd=58000.0 + i) for i in range(1500)],
        states={"b": "failed"} if message else None,
        messages={"b": ("transient", message)} if message else None,
    )
    second = run.add_part(
        "ztf",
        "norder0-npix11",
        [],
        states={"c": "failed"} if message else None,
        messages={"c": ("transient", message)} if message else None,
    )
    run.merge("norder0-npix0", [first], allow_partial=True)
    run.merge("norder0-npix11", [second], allow_partial=True)
    _, ledger_path = run.finish()
    page_path = run.results / "states.html"
    tabulate_states(
        ledger_path=ledger_path,
        status_paths=[first.status_path, second.status_path],
        titles=TITLES,
        page_path=page_path,
    )
    return page_path.read_text()


def cells(page: str) -> list[list[str]]:
    """Texts of the cells of all table rows; the page must be well-formed."""
    body = re.sub(r"<meta[^>]*>", "", page.removeprefix("<!DOCTYPE html>")).replace("<br>", "<br/>")
    rows = ET.fromstring(body.strip()).iter("tr")
    return [[" ".join("".join(cell.itertext()).split()) for cell in row] for row in rows]


def test_states_rows_and_cost(small_run: SmallRun) -> None:
    page = write_page(small_run, None)
    assert "3 targets, 1 archive asked, 1,500 light-curve rows. Every search completed." in (
        " ".join(re.sub(r"<[^>]*>", "", page).split())
    )
    assert ["ztf", "1,500", "8", "8.2 kB", "1.0 s"] in cells(page)
    assert ["ztfZTF <sky>, ztf-dr1", "", "1", "0", "0", "2", "0", "0"] in cells(page)
    assert "not asked: unwise" in page


def test_failures_have_reason_and_remedy(small_run: SmallRun) -> None:
    page = write_page(small_run, "no answer")
    assert [
        "ztf",
        "2",
        "failed (transient): no answershards: norder0-npix0, norder0-npix11",
        REMEDIES["transient"],
    ] in cells(page)


def test_what_archives_say_is_text(small_run: SmallRun) -> None:
    page = write_page(small_run, EVIL)
    assert "<script" not in page
    assert any(EVIL in cell for row in cells(page) for cell in row)


def test_the_page_needs_no_other_file(small_run: SmallRun) -> None:
    page = write_page(small_run, "no answer")
    assert not re.search(r"(src|href)=\"(?!#)|url\(|@import", page)


def test_every_state_and_failure_is_explained() -> None:
    assert MEANINGS.keys() == set(STATES)
    classes = [error for error in vars(errors).values() if isinstance(error, type)]
    assert REMEDIES.keys() == {
        error.error_class for error in classes if issubclass(error, errors.ArchiveError)
    }


def test_a_page_of_a_damaged_run_is_refused(small_run: SmallRun, tmp_path: Path) -> None:
    write_page(small_run, None)
    (tmp_path / "x.status.json").write_text("{}")
    with pytest.raises(errors.ResultError, match=r"x\.status\.json: missing keys"):
        tabulate_states(
            ledger_path=small_run.results / "ledger.parquet",
            status_paths=[tmp_path / "x.status.json"],
            titles=TITLES,
            page_path=tmp_path / "page.html",
        )
