"""Light curves of ordinary and of awkward targets are drawn, without a warning."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from lightloom.plots import lightcurves
from lightloom.plots.lightcurves import (
    Target,
    plot_richest_lightcurves,
    plot_target,
    richest_targets,
)
from lightloom.schema import LEDGER, LIGHTCURVE
from small_run import SmallRun, lightcurve_row

LEDGER_ROW = {
    "objectid": "t",
    "n_sources": 1,
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


def test_a_panel_for_each_archive(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        lightcurve_row("t", "ztf", time_mjd_tdb=58000.0 + i, flux_mjy=-0.1 * i) for i in range(9)
    ]
    rows += [lightcurve_row("t", "unwise", band="W1", time_mjd_tdb=57000.0)]
    subject = target(ztf=("data", 9), unwise=("ambiguous", 1), gaia=("searched_empty", 0))
    plot_target(subject, table(rows), [tmp_path / "t.svg", tmp_path / "t.png"])
    shown = texts(drawn[0])
    assert "unwise dr1: ambiguous, one point" in shown
    assert "ztf dr1: data, 9 points" in shown
    assert "gaia: searched empty" in shown
    upper, lower = drawn[0].axes
    assert upper.get_xlim() == lower.get_xlim()
    assert lower.get_ylim()[0] < -0.8


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
    electrons, relative, events = drawn[0].axes
    assert electrons.get_ylabel() == "value [electron/s]"
    assert relative.get_ylabel() == "value [relative]"
    labels = [label.get_text() for label in events.get_yticklabels()]
    assert labels == ["icecube  2", "fermigbm  1"]
    assert "without time or value" not in texts(drawn[0])


def test_no_rows_give_a_message(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_target(target(ztf=("failed", 0)), table([]), [tmp_path / "t.png"])
    assert "no light curve in any archive" in texts(drawn[0])
    assert "ztf: failed" in texts(drawn[0])


def test_bad_points_do_not_set_the_range(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [lightcurve_row("t", "ztf", time_mjd_tdb=58000.0 + i) for i in range(20)]
    rows.append(lightcurve_row("t", "ztf", flux_mjy=500.0, quality=2))
    plot_target(target(ztf=("data", 21)), table(rows), [tmp_path / "t.png"])
    assert drawn[0].axes[0].get_ylim()[1] < 1
    assert "1 outside the panel" in texts(drawn[0])


def test_only_bad_points_are_shown(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [lightcurve_row("t", "ztf", flux_mjy=500.0, quality=2)]
    plot_target(target(ztf=("data", 1)), table(rows), [tmp_path / "t.png"])
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 500 < high


def test_magnitudes_without_a_flux_point_upwards(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        lightcurve_row("t", "ztf", flux_mjy=None, flux_err_mjy=None, time_mjd_tdb=58000.0 + i)
        for i in range(3)
    ]
    plot_target(target(ztf=("data", 3)), table(rows), [tmp_path / "t.png"])
    axes = drawn[0].axes[0]
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
    assert "2 points, 2 rows without time or value" in texts(drawn[0])


def test_a_panel_may_have_no_point_at_all(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [lightcurve_row("t", "ztf", time_mjd_tdb=None)]
    plot_target(target(ztf=("data", 1)), table(rows), [tmp_path / "t.png"])
    assert "0 points, 1 rows without" in texts(drawn[0])


@pytest.mark.parametrize("name", ["$x_1$", "<b>&\"'", r"\frac", "α Cen; DROP TABLE", "$"])
def test_names_are_shown_as_they_are(tmp_path: Path, drawn: list[Figure], name: str) -> None:
    plot_target(
        target(name, ztf=("data", 1)), table([lightcurve_row(name, "ztf")]), [tmp_path / "t.svg"]
    )
    assert texts(drawn[0]).count(name) == 1


def test_many_points_are_quick_and_small(tmp_path: Path) -> None:
    n_points = 100_000
    rng = np.random.default_rng(1)
    base = table([lightcurve_row("t", "ztf")]).take(pa.array(np.zeros(n_points, int)))
    values = {
        "time_mjd_tdb": rng.uniform(58000, 60000, n_points),
        "flux_mjy": rng.normal(1, 0.1, n_points),
    }
    for name, column in values.items():
        base = base.set_column(LIGHTCURVE.get_field_index(name), name, pa.array(column))
    plot_target(target(ztf=("data", n_points)), base, [tmp_path / "t.svg"])
    assert (tmp_path / "t.svg").stat().st_size < 500_000


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
        plot_richest_lightcurves(
            sample_path=sample_path,
            ledger_path=ledger_path,
            lightcurve_paths={"allsky": small_run.path("lightcurves", "allsky")},
            figure_paths=paths,
        )
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert len(set(written[0])) == 4
