"""A copy of the project in which a test may change anything, and runs of Snakemake in it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO

import yaml

REPOSITORY = Path(__file__).parents[1]
#: The sample of the main job, in the repository and in a project.
SAMPLE = Path("config/samples/yang2018.csv")

_COPIED = ("Snakefile", "rules", "scripts", "config", "envs", "profiles", "tests/laboratory")
_MADE = ("results", ".snakemake")
_JOB_COUNT = re.compile(r"^(?P<rule>[a-z]\w+) +(?P<count>\d+)$", re.MULTILINE)


@dataclass
class Run:
    """How a call of Snakemake ended."""

    returncode: int
    output: str

    @property
    def jobs(self) -> Counter[str]:
        """Jobs planned, by rule; targets without work of their own are left out."""
        # A dry run prints the table a second time at its end.
        table = self.output.partition("Job stats:")[2].partition("\n\n")[0]
        counts = Counter({rule: int(count) for rule, count in _JOB_COUNT.findall(table)})
        for target in ("total", "all", "lightcurves", "repair"):
            del counts[target]
        return counts

    @property
    def fetches(self) -> Counter[str]:
        """Fetch jobs planned, by archive."""
        return Counter(
            {rule.removeprefix("fetch_"): n for rule, n in self.jobs.items() if "fetch_" in rule}
        )

    @property
    def nothing_to_do(self) -> bool:
        """Whether Snakemake said so."""
        return "Nothing to be done" in self.output


class RunningSnakemake(subprocess.Popen[str]):
    """Snakemake with its jobs; all are killed if a test fails while they run."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        super().__exit__(kind, error, trace)


@dataclass
class Project:
    """The project's files in a folder of their own."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "Project":
        """Copy the project's files, with their times."""
        root.mkdir(parents=True)
        for name in _COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                # With the compiled modules, but for those that another process is writing.
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("*.pyc.*"))
            else:
                shutil.copy2(source, root / name)
        return cls(root)

    def copy(self, root: Path) -> "Project":
        """Copy everything, with results, times and Snakemake's records."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def without_results(self, root: Path) -> "Project":
        """Copy everything but what runs have made."""
        shutil.copytree(self.root, root, symlinks=True, ignore=shutil.ignore_patterns(*_MADE))
        return Project(root)

    def path(self, *parts: str) -> Path:
        """Path of a file in the results folder."""
        return self.root.joinpath("results", *parts)

    def configure(self, changes: dict) -> None:
        """Lay changes over the default configuration, in place of earlier ones."""
        (self.root / "test.yaml").write_text(yaml.safe_dump(changes))

    def default_configuration(self) -> dict:
        """The default configuration."""
        return yaml.safe_load((self.root / "config" / "config.yaml").read_text())

    @property
    def configuration(self) -> dict:
        """The changes laid over the default configuration."""
        return yaml.safe_load((self.root / "test.yaml").read_text())

    def snakemake(
        self,
        *options: str,
        target: str = "lightcurves",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Run:
        """Call Snakemake in the project's folder; without figures unless they are asked for."""
        with self.started(*options, target=target, environment=environment) as process:
            output = process.communicate()[0]
        return Run(process.returncode, output)

    def started(
        self,
        *options: str,
        target: str = "lightcurves",
        environment: Mapping[str, str] = MappingProxyType({}),
        output: int | IO[str] = subprocess.PIPE,
    ) -> RunningSnakemake:
        """Start Snakemake like that, in a session of its own, and do not wait for it."""
        return RunningSnakemake(
            [
                *(sys.executable, "-m", "snakemake", "--cores", "2"),
                *("--configfile", "test.yaml", "--nocolor", *options, "--", target),
            ],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(self.root / "scripts")} | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def shards(self) -> list[str]:
        """Names of the shards, in the order of the plan."""
        plan = json.loads(self.path("shards", "plan.json").read_text())
        return [shard["name"] for shard in plan["shards"]]

    def digests(self) -> dict[str, str]:
        """Digests of the data files, from the run's manifest."""
        return json.loads(self.path("manifest.json").read_text())["files"]
