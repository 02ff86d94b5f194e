"""Files of the future get the present time."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightloom.clock import bring_back
from lightloom.errors import ConfigError

DAY_NS = 86_400 * 10**9


@given(days=st.lists(st.integers(-400, 400), min_size=1, max_size=8))
def test_order_is_kept_and_nothing_is_of_the_future(
    days: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("results")
    now_ns = time.time_ns()
    before = {}
    for number, day in enumerate(days):
        path = folder / "parts" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        before[path] = now_ns + day * DAY_NS - DAY_NS // 2
        os.utime(path, ns=(before[path], before[path]))
    n_future = sum(day > 0 for day in days)
    assert bring_back(folder) == n_future
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {p: t for p, t in after.items() if before[p] < now_ns} == {
        p: t for p, t in before.items() if t < now_ns
    }
    assert max(after.values()) <= time.time_ns()
    for one in before:
        for other in before:
            if before[one] < before[other]:
                assert after[one] < after[other]
    assert bring_back(folder) == 0
    assert not (folder / ".clock").exists()


def test_a_folder_and_a_link_count_too(tmp_path: Path) -> None:
    (tmp_path / "hats").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    times = (time.time() + 1000, time.time() + 1000)
    os.utime(tmp_path / "link", times, follow_symlinks=False)
    os.utime(tmp_path / "hats", times)
    assert bring_back(tmp_path) == 2


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ".clock").mkdir()
    with pytest.raises(ConfigError, match=r"found a folder that cannot be written .* `results`"):
        bring_back(tmp_path)
