"""The figures of archives and states are drawn for any sample, and drawn the same each time."""

from pathlib import Path

import pytest

from lightloom.plots import archives, statemap
from lightloom.plots.archives import plot_archives
from lightloom.plots.statemap import _read, plot_state_map
from small_run import SmallRun
from written_results import TARGETS, write_results


@pytest.fixture
def results(small_run: SmallRun) -> Path:
    return write_results(small_run)


def draw(results: Path, folder: Path) -> dict[str, bytes]:
    names = ("icecube", "neowise", "tess", "ztf")
    paths = {name: folder / f"{name}.svg" for name in names}
    plot_archives(
        sample_path=results / "sample" / "sample.parquet",
        ledger_path=results / "ledger.parquet",
        lightcurve_paths=sorted((results / "lightcurves").glob("*.parquet")),
        radii_arcsec=dict.fromkeys(names, 1.0) | {"icecube": None},
        figure_paths=paths,
    )
    return {name: path.read_bytes() for name, path in paths.items()}


def test_each_archive_has_a_figure(results: Path, tmp_path: Path) -> None:
    written = draw(results, tmp_path / "first")
    assert len(set(written.values())) == 4
    assert draw(results, tmp_path / "second") == written


def test_rows_are_counted_over_all_blocks(results: Path) -> None:
    paths = sorted((results / "lightcurves").glob("*.parquet"))
    times = archives._gather_times(paths, ["ztf", "tess"])
    assert times["ztf"].epochs.sum() == 120
    # A step between each two rows of a target in one of two bands.
    assert times["ztf"].steps.sum() == 3 * 2 * 19
    assert times["tess"].epochs.sum() == 8


def test_the_map_has_a_cell_for_every_state(results: Path, tmp_path: Path) -> None:
    severity, names, objectids = _read(results / "ledger.parquet")
    assert names == ["icecube", "neowise", "tess", "ztf"]
    assert set(objectids) == set(TARGETS)
    data = statemap._BY_SEVERITY.index("data")
    assert (severity == data).sum() == 6
    for name in ("a", "b"):
        plot_state_map(
            ledger_path=results / "ledger.parquet", figure_paths=[tmp_path / f"{name}.svg"]
        )
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_of_many_targets_the_worst_states_are_shown(small_run: SmallRun, tmp_path: Path) -> None:
    targets = {f"t{i:04d}": (0.1 + 0.01 * i, 5.0) for i in range(1300)}
    small_run.add_shard("allsky", targets)
    parts = [
        small_run.add_part(
            "ztf",
            "allsky",
            [],
            states={"t0700": "failed"},
            messages={"t0700": ("transient", "no answer")},
        ),
        small_run.add_part("unwise", "allsky", []),
    ]
    small_run.merge("allsky", parts, allow_partial=True)
    _, ledger_path = small_run.finish()
    severity, _, _ = _read(ledger_path)
    assert len(severity) == 650
    assert (severity == statemap._BY_SEVERITY.index("failed")).sum() == 1
    plot_state_map(ledger_path=ledger_path, figure_paths=[tmp_path / "map.png"])
