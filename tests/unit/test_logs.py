"""The log of a job."""

import logging
import os
import subprocess
import warnings
from pathlib import Path

import pytest

from lightloom.errors import ArchiveError
from lightloom.logs import job_logging


def test_everything_that_is_printed_is_kept_for_each_attempt(tmp_path: Path) -> None:
    log = tmp_path / "fetch" / "allsky.log"
    for attempt in (1, 2):
        with job_logging(str(log), attempt=attempt), warnings.catch_warnings():
            warnings.simplefilter("default")
            logging.getLogger("lightloom").info("attempt %d", attempt)
            os.write(1, b"from compiled code\n")
            subprocess.run(["echo", "from a child"], check=True)
            warnings.warn("careful", stacklevel=1)
        # As Snakemake does before it tries again.
        text = log.read_text()
        log.unlink()
        for words in (f"attempt {attempt}", "from compiled code", "from a child", "careful"):
            assert words in text
        assert (tmp_path / "fetch" / f"allsky.attempt{attempt}.log").read_text() == text


def test_errors_meant_for_the_user_have_no_traceback(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit) as ended, job_logging(str(log), attempt=1):
        raise ArchiveError("ztf is down")
    assert ended.value.code == 1
    assert "ERROR lightloom: ztf is down" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_other_errors_have_one(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    with pytest.raises(ZeroDivisionError), job_logging(str(log), attempt=1):
        1 / 0  # noqa: B018
    assert "Traceback" in log.read_text()
