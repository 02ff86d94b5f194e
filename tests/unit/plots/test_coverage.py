"""The coverage figure is drawn for any sample, and drawn the same each time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lightloom.plots.coverage import _archives_with_rows, plot_coverage
from small_run import SmallRun, lightcurve_row

TARGETS = {
    "wrap": (359.9999, 0.0),
    "zero": (0.0, 0.0),
    "north": (12.0, 90.0),
    "south": (300.0, -90.0),
    "failed": (80.0, 22.0),
}


def finish(run: SmallRun, targets: dict[str, tuple[float, float]]) -> tuple[Path, Path]:
    run.add_shard("allsky", targets)
    first, *others = targets
    parts = [
        run.add_part("ztf", "allsky", [lightcurve_row(first, "ztf")]),
        run.add_part(
            "unwise",
            "allsky",
            [lightcurve_row(target, "unwise") for target in targets if target != "failed"],
            states={"failed": "failed"} if others else None,
            messages={"failed": ("transient", "no answer")},
        ),
    ]
    run.merge("allsky", parts, allow_partial=True)
    return run.finish()


def test_archives_are_counted_per_target(small_run: SmallRun) -> None:
    _, ledger_path = finish(small_run, TARGETS)
    objectids = pa.chunked_array([["wrap", "failed"], ["zero"]])
    np.testing.assert_array_equal(_archives_with_rows(objectids, ledger_path), [2, 0, 1])


@pytest.mark.parametrize("n_targets", [1, len(TARGETS)])
def test_figures_are_the_same_each_time(small_run: SmallRun, n_targets: int) -> None:
    sample_path, ledger_path = finish(small_run, dict(list(TARGETS.items())[:n_targets]))
    written = []
    for number in (1, 2):
        paths = [small_run.results / f"{number}{suffix}" for suffix in (".svg", ".png")]
        plot_coverage(sample_path=sample_path, ledger_path=ledger_path, figure_paths=paths)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    svg, png = written[0]
    assert svg.startswith(b"<?xml")
    assert png.startswith(b"\x89PNG")


def test_a_run_without_archives_shows_its_targets(small_run: SmallRun) -> None:
    small_run.add_shard("allsky", TARGETS)
    small_run.merge("allsky", [])
    sample_path, ledger_path = small_run.finish()
    figure_path = small_run.results / "coverage.png"
    plot_coverage(sample_path=sample_path, ledger_path=ledger_path, figure_paths=[figure_path])
    assert figure_path.stat().st_size > 10_000


def test_a_large_sample_makes_a_small_vector_file(small_run: SmallRun) -> None:
    rng = np.random.default_rng(2)
    targets = {
        f"t{i}": (ra, dec)
        for i, (ra, dec) in enumerate(
            zip(rng.uniform(0, 360, 6000), rng.uniform(-80, 80, 6000), strict=True)
        )
    }
    small_run.add_shard("allsky", targets)
    part = small_run.add_part("ztf", "allsky", [lightcurve_row("t1", "ztf")])
    small_run.merge("allsky", [part])
    sample_path, ledger_path = small_run.finish()
    figure_path = small_run.results / "coverage.svg"
    plot_coverage(sample_path=sample_path, ledger_path=ledger_path, figure_paths=[figure_path])
    assert figure_path.stat().st_size < 600_000
