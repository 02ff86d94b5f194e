"""Lines in the logs say how far a job is."""

import logging
import time

import pytest

from lightloom.progress import Progress, duration, progress_lines


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (360_000, "4 d 4 h")],
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_come_while_nothing_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with progress_lines(4, "requests answered", interval_s=0.02) as progress:
        progress.advance()
        time.sleep(0.15)
        progress.advance(3)
    assert "1 of 4 requests answered (25 %)" in caplog.text
    assert "left" in caplog.text
    assert caplog.messages[-1] == "4 of 4 requests answered"


def test_nothing_to_do_is_no_division(caplog: pytest.LogCaptureFixture) -> None:
    assert str(Progress(0, "rows merged")) == "0 of 0 rows merged"
