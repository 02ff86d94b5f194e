"""Building the embedded sky: the same bytes again, and nothing half made or lost."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from lightloom.errors import ResultError, SampleError
from lightloom.sky.build import build_sky
from lightloom.sky.streams import random_stream


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_another_process_writes_the_same_bytes(small_sky: Path, tmp_path: Path) -> None:
    script = Path(__file__).with_name("small_sky.py")
    subprocess.run([sys.executable, script, tmp_path / "again"], check=True)
    assert digests(tmp_path / "again") == digests(small_sky)


def test_random_streams_depend_on_seed_and_purpose() -> None:
    assert random_stream(1, "stars").random() == random_stream(1, "stars").random()
    values = {
        random_stream(seed, *purpose).random()
        for seed in (1, 2)
        for purpose in (("stars",), ("stars", 1), ("walks",))
    }
    assert len(values) == 6


def test_a_failed_build_leaves_the_older_sky(tmp_path: Path) -> None:
    older = tmp_path / "sky" / "awkward.csv"
    older.parent.mkdir()
    older.write_text("older")
    sample = tmp_path / "sample.csv"
    sample.write_text("name,ra\nfirst,1.0\n")
    with pytest.raises(SampleError, match=r"sample\.csv: columns \['dec'\] are missing"):
        build_sky(tmp_path / "sky", sample, 1)
    assert older.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.csv", "sky"]


def test_a_folder_that_is_no_sky_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ResultError, match=r"found \['thesis\.tex'\], expected nothing or an older"):
        build_sky(tmp_path, tmp_path / "sample.csv", 1)
    assert (tmp_path / "thesis.tex").exists()
