"""Tables of targets written for a test, and the errors that they give."""

from pathlib import Path
from typing import Any

import pytest

from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.sample.read import read_sample


def table(text: str | bytes, path: str = "t.csv", **options: Any) -> TableSource:
    """Write a table and return it as a source, its coordinates in the columns ra and dec."""
    Path(path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return TableSource(**{"kind": "table", "path": path, "ra": "ra", "dec": "dec", **options})


def error_lines(*sources: TableSource, merge_radius_arcsec: float = 1.0) -> list[str]:
    """Return the lines of the error that a sample gives, without the count."""
    with pytest.raises(SampleError) as caught:
        read_sample(sources, "stop", merge_radius_arcsec)
    head, *lines = str(caught.value).split("\n  ")
    assert head.endswith("in the sample:")
    return lines
