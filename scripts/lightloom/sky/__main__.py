"""Command line of the embedded sky: ``python -m lightloom.sky --help``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lightloom.sky.build import DEFAULT_SEED, build_sky
from lightloom.sky.dense import DenseSize, Layout, build_dense
from lightloom.sky.moving.benchmark import BenchmarkSize, build_benchmark
from lightloom.sky.targets import draw_targets


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lightloom.sky",
        description="Build small catalogues in the archives' layouts, and what a search must find.",
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("sky"), help="folder to write")
    parser.add_argument(
        "--sample",
        type=Path,
        default=Path("config/samples/yang2018.csv"),
        help="CSV file with name, ra and dec [deg]; default: %(default)s",
    )
    parser.add_argument(
        "--release",
        type=int,
        choices=[1, 2],
        default=1,
        help="2: the same sky with 37 points changed, which truth/changes.parquet lists",
    )
    parser.set_defaults(run=_build)
    commands = parser.add_subparsers(title="other commands")

    dense = commands.add_parser("dense", help="write large catalogues, to measure readers with")
    dense.add_argument("--output", type=Path, required=True, help="folder to write them into")
    dense.add_argument("--objects", type=int, default=DenseSize.n_objects)
    dense.add_argument("--epochs", type=int, default=DenseSize.mean_epochs)
    dense.add_argument("--visits", type=int, default=DenseSize.n_visits)
    dense.add_argument("--partitions", type=int, default=DenseSize.n_partitions)
    dense.add_argument("--layout", type=Layout, choices=list(Layout), default=Layout.PAGED)
    dense.add_argument("--row-group-rows", type=int, default=100_000)
    dense.set_defaults(run=_build_dense)

    moving = commands.add_parser("moving", help="write many moving objects and alerts")
    moving.add_argument("--output", type=Path, required=True, help="folder to write them into")
    moving.add_argument("--objects", type=int, default=BenchmarkSize.n_objects)
    moving.add_argument("--alerts", type=int, default=BenchmarkSize.n_alerts)
    moving.add_argument("--days", type=int, default=BenchmarkSize.n_days)
    moving.add_argument("--planted", type=int, default=BenchmarkSize.n_planted, help="per object")
    moving.set_defaults(run=_build_moving)

    targets = commands.add_parser("targets", help="draw random targets near catalogued objects")
    targets.add_argument("--catalogue", type=Path, required=True, help="ZTF-like HATS catalogue")
    targets.add_argument("--output", type=Path, required=True, help="CSV file to write")
    targets.add_argument("--number", type=int, required=True)
    targets.set_defaults(run=_draw_targets)

    chosen = parser.parse_args(arguments)
    chosen.run(chosen)


def _build(chosen: argparse.Namespace) -> None:
    build_sky(chosen.output, chosen.sample, chosen.seed, release=chosen.release)


def _build_dense(chosen: argparse.Namespace) -> None:
    size = DenseSize(
        n_objects=chosen.objects,
        mean_epochs=chosen.epochs,
        n_visits=chosen.visits,
        n_partitions=chosen.partitions,
    )
    build_dense(chosen.output, size, chosen.layout, chosen.row_group_rows, chosen.seed)


def _build_moving(chosen: argparse.Namespace) -> None:
    size = BenchmarkSize(chosen.objects, chosen.alerts, chosen.days, chosen.planted)
    build_benchmark(chosen.output, size, chosen.seed)


def _draw_targets(chosen: argparse.Namespace) -> None:
    draw_targets(chosen.catalogue, chosen.number, chosen.seed).to_csv(chosen.output, index=False)


if __name__ == "__main__":
    main()
