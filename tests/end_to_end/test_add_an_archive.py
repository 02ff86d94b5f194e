"""docs/add-an-archive.md, followed to the letter: its files are written, its commands run."""

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from project import REPOSITORY, Project, Run

pytestmark = pytest.mark.timeout(300)

PAGE = REPOSITORY / "docs" / "add-an-archive.md"
#: What the page has written, run, or shown as printed.
STEP = re.compile(
    r"[Ww]rite `(?P<name>[^`]+)`:\n\n```\w+\n(?P<content>.*?)```"
    r"|```console\n(?P<commands>.*?)```"
    r"|```text\n(?P<printed>.*?)```",
    re.DOTALL,
)
#: Port of the laboratory, in the page and in the configuration of the embedded sky.
PORT = "18088"


@dataclass
class Followed:
    """The project after the page, and what each command printed."""

    project: Project
    runs: dict[str, Run]

    def run(self, last_file: str) -> Run:
        """The run of Snakemake whose last configuration file is this one."""
        (run,) = (run for command, run in self.runs.items() if command.endswith(last_file))
        return run

    def rows(self, archive: str) -> pd.DataFrame:
        rows = pq.read_table(
            self.project.root / "trial" / "lightcurves", filters=[("archive", "==", archive)]
        )
        return rows.to_pandas()


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def run_as_a_user(project: Project, command: str) -> Run:
    environment = os.environ | {
        "PYTHONPATH": str(project.root / "scripts"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    finished = subprocess.run(
        command,
        shell=True,
        cwd=project.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Run(finished.returncode, finished.stdout)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, sky: Path) -> Followed:
    project = Project.create(tmp_path_factory.mktemp("followed") / "project")
    (project.root / "sky").symlink_to(sky)
    port = free_port()
    embedded = project.root / "config" / "sky" / "embedded.yaml"
    embedded.write_text(embedded.read_text().replace(PORT, port))
    runs: dict[str, Run] = {}
    printed = ""
    for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
        if step["name"]:
            path = project.root / step["name"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(step["content"].replace(PORT, port))
        elif step["commands"]:
            commands = [line.removeprefix("$ ") for line in step["commands"].splitlines()]
            runs |= {command: run_as_a_user(project, command) for command in commands}
            for command in commands:
                assert runs[command].returncode == 0, runs[command].output
            printed = runs[commands[-1]].output
        else:
            for line in step["printed"].splitlines():
                assert line in printed.splitlines()
    return Followed(project, runs)


def test_each_run_fetches_what_is_new(followed: Followed) -> None:
    assert followed.run("mysurvey.yaml").fetches.keys() == {"mysurvey", "nsc", "ztf"}
    assert followed.run("mytap.yaml").fetches.keys() == {"mytap"}
    assert followed.run("observatory.yaml").fetches.keys() == {"observatory"}
    logs = followed.project.root / "trial" / "logs"
    assert (logs / "fetch" / "mysurvey" / "allsky.log").exists()
    assert (logs / "services" / "sky.log").exists()


@pytest.mark.parametrize(("added", "built_in"), [("mysurvey", "ztf"), ("mytap", "nsc")])
def test_an_entry_finds_what_the_built_in_archive_finds(
    followed: Followed, added: str, built_in: str
) -> None:
    rows, expected = followed.rows(added), followed.rows(built_in)
    assert len(rows) > 50
    pd.testing.assert_frame_equal(
        rows.drop(columns="archive"), expected.drop(columns="archive"), check_exact=True
    )


def test_the_rows_of_the_module_are_those_of_its_files(followed: Followed) -> None:
    rows = followed.rows("observatory").sort_values("time_mjd", ignore_index=True)
    folder = followed.project.root / "observatory"
    published = pd.concat(
        [pd.read_csv(folder / name) for name in ("agn7.csv", "agn12.csv")], ignore_index=True
    )
    for column, name in {
        "time_mjd": "mjd",
        "native_value": "mag",
        "native_err": "magerr",
        "flags_native": "flags",
        "exposure_s": "exptime",
    }.items():
        np.testing.assert_array_equal(rows[column], published[name], err_msg=column)
    assert rows["band"].to_list() == published["filter"].to_list()
    ab_mag = published["mag"] + published["filter"].map({"V": 0.02, "I": 0.45})
    expected_mjy = 10 ** (-0.4 * (ab_mag - 23.9)) / 1000
    np.testing.assert_allclose(rows["flux_mjy"], expected_mjy, rtol=1e-9)
    assert rows["quality"].to_list() == [0, 0, 2, 0, 1]
    assert rows["survey_object_id"].to_list() == ["AGN 7"] * 3 + ["AGN 12"] * 2


def test_services_end_with_the_run(followed: Followed) -> None:
    port = int(re.search(r"--port (\d+)", (followed.project.root / "mytap.yaml").read_text())[1])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
