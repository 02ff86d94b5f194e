"""Light curves of ordinary and of awkward targets are drawn, without a warning."""

import base64
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightloom.plots import lightcurves
from lightloom.plots.interactive import MAX_POINTS, write_page
from lightloom.plots.lightcurves import plot_richest_lightcurves, plot_target
from lightloom.plots.points import dense_window, points_by_unit
from lightloom.plots.targets import Target, richest_targets
from lightloom.schema import LEDGER, LIGHTCURVE
from small_run import SmallRun, lightcurve_row

LEDGER_ROW = {
    "objectid": "t",
    "n_sources": 1,
    "n_offsets": 0,
    "n_offset_matches": 0,
    "match_arcsec": 0.1,
    "error_class": None,
    "message": None,
    "release": "dr1",
    "shard": "allsky",
}


def target(name: str = "t", **states: tuple[str, int]) -> Target:
    """A target with a state and a number of rows for each archive."""
    rows = [
        {**LEDGER_ROW, "objectid": name, "archive": archive, "state": state, "n_rows": n_rows}
        for archive, (state, n_rows) in states.items()
    ]
    return Target(name, 10.0, -5.0, "allsky", pa.Table.from_pylist(rows, schema=LEDGER))


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in LIGHTCURVE.names} for row in rows], schema=LIGHTCURVE
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were saved, to be looked into after they were written."""
    figures: list[Figure] = []
    save = lightcurves.save_figure

    def save_and_keep(figure: Figure, paths: list[Path]) -> None:
        save(figure, paths)
        figures.append(figure)

    monkeypatch.setattr(lightcurves, "save_figure", save_and_keep)
    return figures


def texts(figure: Figure) -> str:
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [axes.get_title(loc="left") for axes in figure.axes]
    found += [figure.get_suptitle(), figure.get_supxlabel()]
    return "\n".join(found)


def panels(figure: Figure) -> list[Axes]:
    """Panels with measurements, from above."""
    return [axes for axes in figure.axes if axes.get_ylabel()]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_archives_share_the_panel_of_their_unit(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        lightcurve_row("t", "ztf", time_mjd_tdb=58000.0 + i, flux_mjy=-0.1 * i) for i in range(9)
    ]
    rows += [lightcurve_row("t", "unwise", band="W1", time_mjd_tdb=57000.0)]
    subject = target(ztf=("data", 9), unwise=("ambiguous", 1), gaia=("searched_empty", 0))
    paths = [tmp_path / f"t.{suffix}" for suffix in ("svg", "png", "pdf")]
    plot_target(subject, table(rows), paths)
    assert all(path.stat().st_size for path in paths)
    shown = texts(drawn[0])
    assert "rows: unwise 1, ambiguous; ztf 9" in shown
    assert "searched empty: gaia" in shown
    (panel,) = panels(drawn[0])
    assert panel.get_ylabel() == "flux density [mJy]"
    assert "10 points" in titles(drawn[0])
    assert panel.get_ylim()[0] < -0.8
    legends = [axes.get_legend() for axes in drawn[0].axes if axes.get_legend()]
    assert [text.get_text() for text in legends[0].get_texts()] == ["unwise W1  1", "ztf g  9"]
    marks = {line.get_marker() for line in panel.lines if len(line.get_xdata()) in (1, 9)}
    assert len(marks - {"None", None}) == 2


def test_each_unit_has_a_panel_and_all_events_share_one(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    native = {"flux_mjy": None, "flux_err_mjy": None}
    rows = [
        lightcurve_row("t", "tess", native_unit=unit, native_value=value, **native)
        for unit, value in (("electron/s", 900.0), ("relative", 1.0))
    ]
    rows += [
        lightcurve_row("t", name, kind="event", native_value=None, native_unit="none", **native)
        for name in ("fermigbm", "icecube", "icecube")
    ]
    subject = target(tess=("data", 2), fermigbm=("data", 1), icecube=("data", 2))
    plot_target(subject, table(rows), [tmp_path / "t.png"])
    electrons, relative = panels(drawn[0])
    assert electrons.get_ylabel() == "value [electron/s]"
    assert relative.get_ylabel() == "value [relative]"
    (events,) = [a for a in drawn[0].axes if a.get_title(loc="left").startswith("events")]
    labels = [label.get_text() for label in events.get_yticklabels()]
    assert labels == ["icecube  2", "fermigbm  1"]
    assert electrons.get_xlim() == relative.get_xlim() == events.get_xlim()
    assert "without time or value" not in texts(drawn[0])


def test_the_dense_part_is_drawn_again(tmp_path: Path, drawn: list[Figure]) -> None:
    times = [50000.0, *(58000.0 + i for i in range(60)), 62000.0]
    rows = [lightcurve_row("t", "ztf", time_mjd_tdb=mjd, flux_mjy=0.1 + mjd / 1e6) for mjd in times]
    plot_target(target(ztf=("data", 62)), table(rows), [tmp_path / "t.png"])
    (zoom,) = [a for a in drawn[0].axes if "shaded" in a.get_title(loc="left")]
    low, high = zoom.get_xlim()
    assert 57990 < low < high < 58070
    assert dense_window(np.linspace(58000, 60000, 100)) is None
    assert dense_window(np.array(times[:20])) is None
    assert dense_window(np.full(100, 58000.0)) is None


def test_limits_are_arrows_and_an_axis_may_be_logarithmic(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    rows = [
        lightcurve_row("t", "neowise", band="W1", kind="limit", flux_mjy=1.0, flux_err_mjy=None),
        *(lightcurve_row("t", "ztf", flux_mjy=10.0**power) for power in range(-3, 3)),
    ]
    plot_target(target(neowise=("data", 1), ztf=("data", 6)), table(rows), [tmp_path / "t.png"])
    (panel,) = panels(drawn[0])
    assert panel.get_yscale() == "log"
    assert any("downarrow" in str(line.get_marker()) for line in panel.lines)
    negative = [*rows, lightcurve_row("t", "ztf", flux_mjy=-0.01)]
    plot_target(target(neowise=("data", 1), ztf=("data", 7)), table(negative), [tmp_path / "t.png"])
    (panel,) = panels(drawn[1])
    assert panel.get_yscale() == "asinh"
    assert panel.get_ylim()[0] < 0


def test_no_rows_give_a_message(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_target(target(ztf=("failed", 0)), table([]), [tmp_path / "t.png"])
    assert "no light curve in any archive" in texts(drawn[0])
    assert "failed: ztf" in texts(drawn[0])
    write_page(target(ztf=("failed", 0)), table([]), tmp_path / "t.html")
    assert "No light curve in any archive" in page_inside(tmp_path / "t.html")


def test_only_events(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [lightcurve_row("t", "fermigbm", kind="event", flux_mjy=None, native_value=None)]
    plot_target(target(fermigbm=("data", 1)), table(rows), [tmp_path / "t.png"])
    assert not panels(drawn[0])
    assert any(title.startswith("events") for title in titles(drawn[0]))
    write_page(target(fermigbm=("data", 1)), table(rows), tmp_path / "t.html")


def test_bad_points_do_not_set_the_range(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [lightcurve_row("t", "ztf", time_mjd_tdb=58000.0 + i) for i in range(20)]
    rows.append(lightcurve_row("t", "ztf", flux_mjy=500.0, quality=2))
    plot_target(target(ztf=("data", 21)), table(rows), [tmp_path / "t.png"])
    assert panels(drawn[0])[0].get_ylim()[1] < 1
    assert "21 points, 1 outside the panel" in titles(drawn[0])


def test_only_bad_points_are_shown(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [lightcurve_row("t", "ztf", flux_mjy=500.0, quality=2)]
    plot_target(target(ztf=("data", 1)), table(rows), [tmp_path / "t.png"])
    low, high = panels(drawn[0])[0].get_ylim()
    assert low < 500 < high


def test_magnitudes_without_a_flux_point_upwards(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        lightcurve_row("t", "ztf", flux_mjy=None, flux_err_mjy=None, time_mjd_tdb=58000.0 + i)
        for i in range(3)
    ]
    plot_target(target(ztf=("data", 3)), table(rows), [tmp_path / "t.png"])
    (axes,) = panels(drawn[0])
    assert axes.get_ylabel() == "value [mag]"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_rows_that_cannot_be_drawn_are_counted(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        lightcurve_row("t", "ztf"),
        lightcurve_row("t", "ztf", time_mjd_tdb=None),
        lightcurve_row("t", "ztf", flux_mjy=float("nan")),
        lightcurve_row("t", "ztf", flux_mjy=0.0, flux_err_mjy=None),
    ]
    plot_target(target(ztf=("data", 4)), table(rows), [tmp_path / "t.png"])
    assert "2 points" in titles(drawn[0])
    assert "2 rows without time or value are not drawn" in texts(drawn[0])


def test_a_panel_may_have_no_point_at_all(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [lightcurve_row("t", "ztf", time_mjd_tdb=None)]
    plot_target(target(ztf=("data", 1)), table(rows), [tmp_path / "t.png"])
    assert "1 rows without time or value" in texts(drawn[0])
    assert "no light curve" in texts(drawn[0])


@pytest.mark.parametrize("name", ["$x_1$", "<b>&\"'", r"\frac", "α Cen; DROP TABLE", "$"])
def test_names_are_shown_as_they_are(tmp_path: Path, drawn: list[Figure], name: str) -> None:
    plot_target(
        target(name, ztf=("data", 1)), table([lightcurve_row(name, "ztf")]), [tmp_path / "t.svg"]
    )
    assert texts(drawn[0]).count(name) == 1


def page_inside(path: Path) -> str:
    """What a page holds that is compressed in its file."""
    packed = path.read_text().partition('id="page">')[2].partition("<")[0]
    return gzip.decompress(base64.b64decode(packed)).decode()


def many_rows(n_points: int) -> pa.Table:
    rng = np.random.default_rng(1)
    base = table([lightcurve_row("t", "ztf", band=band) for band in "gr"])
    base = base.take(pa.array(np.arange(n_points) % 2))
    values = {
        "time_mjd_tdb": rng.uniform(58000, 60000, n_points),
        "flux_mjy": rng.normal(1, 0.1, n_points),
    }
    for name, column in values.items():
        base = base.set_column(LIGHTCURVE.get_field_index(name), name, pa.array(column))
    return base


def test_a_million_points_make_small_files(tmp_path: Path) -> None:
    n_points = 1_000_000
    rows = many_rows(n_points)
    plot_target(target(ztf=("data", n_points)), rows.slice(0, 100_000), [tmp_path / "t.svg"])
    assert (tmp_path / "t.svg").stat().st_size < 1_000_000
    write_page(target(ztf=("data", n_points)), rows, tmp_path / "t.html")
    step = -(-n_points // MAX_POINTS)
    assert f"1,000,000 points, one in {step} is drawn" in page_inside(tmp_path / "t.html")
    # Browsers show no data URL of more than 2 MiB, the form that a page has in a report.
    assert (tmp_path / "t.html").stat().st_size * 4 / 3 < 2 * 1024**2


def test_every_point_is_in_one_series() -> None:
    rows = [
        lightcurve_row("t", archive, band=band, quality=quality, time_mjd_tdb=58000.0 + i)
        for i, (archive, band, quality) in enumerate(
            (a, b, q) for a in ("ztf", "nsc") for b in "gri" for q in (0, 1, 2, 0)
        )
    ]
    (points,) = points_by_unit(table(rows))
    found = np.sort(np.concatenate([series.indices for series in points.series]))
    assert found.tolist() == list(range(24))
    for series in points.series:
        chosen = points.rows.take(pa.array(series.indices)).to_pylist()
        assert {(r["archive"], r["band"], r["kind"], r["quality"]) for r in chosen} == {
            (series.archive, series.band, series.kind, series.quality)
        }


@pytest.fixture
def finished(small_run: SmallRun) -> tuple[Path, Path]:
    targets = {name: (45.0 + 0.1 * i, 40.0) for i, name in enumerate("abcd")}
    small_run.add_shard("allsky", targets)
    counts = {"a": 2, "b": 5, "c": 0, "d": 5}
    rows = [
        lightcurve_row(name, "ztf", time_mjd=58000.0 + i, time_mjd_tdb=58000.0 + i)
        for name, n_rows in counts.items()
        for i in range(n_rows)
    ]
    small_run.merge("allsky", [small_run.add_part("ztf", "allsky", rows)])
    return small_run.finish()


def test_the_richest_targets_come_first(finished: tuple[Path, Path]) -> None:
    sample_path, ledger_path = finished
    chosen = richest_targets(sample_path=sample_path, ledger_path=ledger_path, n_targets=9)
    assert [t.objectid for t in chosen] == ["b", "d", "a", "c"]
    assert chosen[0].ra_deg == 45.1
    assert chosen[0].states["archive"].to_pylist() == ["unwise", "ztf"]


def test_figures_are_the_same_each_time(
    small_run: SmallRun, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    sample_path, ledger_path = finished
    written = []
    for folder in ("first", "second"):
        paths = [tmp_path / folder / f"{rank}.svg" for rank in range(4)]
        pages = [path.with_suffix(".html") for path in paths]
        plot_richest_lightcurves(
            sample_path=sample_path,
            ledger_path=ledger_path,
            lightcurve_paths={"allsky": small_run.path("lightcurves", "allsky")},
            figure_paths=paths,
            page_paths=pages,
        )
        written.append([path.read_bytes() for path in paths])
        assert all(page.stat().st_size > 100_000 for page in pages)
    assert written[0] == written[1]
    assert len(set(written[0])) == 4
