"""A small embedded sky: run as a script with the folder to write, or from a fixture."""

import sys
from pathlib import Path

from lightloom.sky.build import SkySize, build_sky
from lightloom.sky.moving.alerts import AlertNumbers

#: Two of the targets are 0.7 arcsec apart: one target.
SAMPLE = """name,ra,dec
first,29.99,0.55301
second,29.99015,0.55288
third,0.28136,-0.09789
fourth,199.87808,67.89872
fifth,354.01242,0.29132
"""


SIZE = SkySize(
    all_sky_stars=800,
    stars_per_place=6,
    partition_rows=250,
    alerts=AlertNumbers(per_body=12, background=300),
)


def build_small_sky(output: Path) -> None:
    """Build the small sky, with its sample beside it."""
    sample = output.with_name("sample.csv")
    sample.write_text(SAMPLE)
    build_sky(output, sample, 7, SIZE)


if __name__ == "__main__":
    build_small_sky(Path(sys.argv[1]))
