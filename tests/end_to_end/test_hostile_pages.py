"""Pages that hold every hostile text are opened in a browser: nothing of them runs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from browser import offline_browser

from hostile_strings import HOSTILE, MARK
from lightloom.plots.interactive import write_page
from lightloom.plots.states import tabulate_states
from lightloom.plots.targets import Target
from lightloom.schema import LEDGER, LIGHTCURVE
from lightloom.storage import write_json

TEXTS = [text.strip() for text in HOSTILE]
#: An id that is all of them.
OBJECTID = " ".join(TEXTS)

#: The text of a page, also of what bokeh hides from its style.
SHOWN = """(() => {
  const texts = (node) => [...node.childNodes].map((one) => {
    if (one.nodeType === Node.TEXT_NODE) return one.data;
    return ["SCRIPT", "STYLE"].includes(one.tagName) ? "" : texts(one.shadowRoot ?? one);
  }).join("");
  return texts(document.body);
})()"""


def rows() -> pa.Table:
    found = [
        {
            "objectid": OBJECTID,
            "archive": "hcv",
            "time_mjd": 58000.0 + n,
            "time_scale": "utc",
            "time_ref": "geocentre",
            "time_mjd_tdb": 58000.0 + n,
            "flux_mjy": 1.0 + n,
            "flux_err_mjy": 0.1,
            "native_unit": "mag",
            "quality": 0,
            "kind": "event" if n % 7 == 0 else "detection",
            "match_arcsec": 0.1,
        }
        | dict.fromkeys(("band", "survey_object_id", "survey_field", "exposure_id"), text)
        for n, text in enumerate(TEXTS)
    ]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in LIGHTCURVE.names} for row in found], schema=LIGHTCURVE
    )


def ledger() -> pa.Table:
    found = [
        {
            "objectid": text,
            "archive": "hcv",
            "state": "failed",
            "n_rows": 0,
            "n_sources": 0,
            "n_offsets": 0,
            "n_offset_matches": 0,
            "error_class": "transient",
            "message": text,
            "release": text,
            "shard": "allsky",
        }
        for text in TEXTS
    ]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in LEDGER.names} for row in found], schema=LEDGER
    )


def test_nothing_runs_and_all_is_shown(tmp_path: Path) -> None:
    pages = {name: tmp_path / f"{name}.html" for name in ("curves", "states")}
    write_page(Target(OBJECTID, 10.0, -5.0, "allsky", ledger()), rows(), pages["curves"])
    pq.write_table(ledger(), tmp_path / "ledger.parquet")
    status = {
        "archive": "hcv",
        "shard": "allsky",
        "key": {},
        "release": "1",
        "part": {"bytes": 0, "sha256": ""},
        "targets": ledger().drop_columns(["archive", "release", "shard"]).to_pydict(),
        "reads": {"requests": 1, "bytes": 1, "seconds": 1.0},
    }
    write_json(tmp_path / "status.json", status)
    tabulate_states(
        ledger_path=tmp_path / "ledger.parquet",
        status_paths=[tmp_path / "status.json"],
        titles={"hcv": OBJECTID},
        page_path=pages["states"],
    )
    with offline_browser() as browser:
        for name, path in pages.items():
            page = browser.open(path)
            if name == "curves":
                drawn = "window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
                page.wait_for_function(drawn)
                # The tooltips are made when the mouse meets a mark.
                for x in range(80, 900, 20):
                    page.mouse.move(x, 400)
            assert page.evaluate(f"typeof window.{MARK}") == "undefined"
            harm = "img[onerror], iframe, svg[onload], [onmouseover], [srcdoc]"
            assert page.locator(harm).count() == 0
            shown = " ".join(page.evaluate(SHOWN).split())
            for text in TEXTS:
                assert " ".join(text.split()) in shown, (name, text)
            # What an id says of the display of the page is not heeded.
            assert page.evaluate("getComputedStyle(document.body).display") != "none"
        assert browser.outside == []
        assert browser.complaints == []
