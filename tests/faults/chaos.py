"""Seeded violence against runs: whatever happens at whatever moment, the next runs mend it.

    PYTHONPATH=scripts:tests python tests/faults/chaos.py --trials 100
    PYTHONPATH=scripts:tests python tests/faults/chaos.py --first 17 --trials 1

A trial starts a small run, from nothing or from an earlier run of which something is missing, lets
something befall it at a seeded moment, and runs it again as a user would until it is done. Then
every file has to be there that an undisturbed run leaves, with the same content, and no other.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from violence import VIOLENCE, Scene, missing, mounted, processes_of

from laboratory import Laboratory
from project import REPOSITORY, SAMPLE, Project
from service_project import services_project

#: Archives of Parquet files, beside a service.
PARQUET = {
    "ztf": "sky/ztf_dr24_lc-hats",
    "unwise": "sky/unwise-neo7-time_domain-healpix_k5.parquet",
}
SERVICE = "nsc"

#: What a service may cost a trial: no longer waits than a test can bear.
LIMITS = {"retries": 1, "timeout_s": 10, "attempts": 3, "longest_wait_s": 1, "breaker_pause_s": 2}

#: Files that are written when a run comes to some point, and what there is one of; the moment is
#: when n of them were written. A run's start has none.
STAGES = {
    "start": ("", ""),
    "fetch": ("logs/fetch/*/*.attempt1.log", "part"),
    "answer": ("parts/*/.*.unfinished.answers/*/answers.jsonl", "part"),
    "part": ("parts/*/*.parquet", "part"),
    "status": ("parts/*/*.status.json", "part"),
    "merge": ("logs/merge_shard/*.attempt1.log", "shard"),
    "ledger": ("ledger/*.parquet", "shard"),
    "hats": ("hats/lightcurves/*", "run"),
    "manifest": ("logs/tabulate_manifest.log", "run"),
}
#: What strikes at fetches comes while there are some.
AT_FETCHES = {"kill_fetch", "kill_worker", "kill_scheduler", "kill_service", "lose_network"}
#: What is about worker processes.
AT_PROCESSES = {"kill_worker", "little_memory"}
FETCH_STAGES = ("fetch", "answer")
#: Share of the trials that begin with nothing done.
FROM_NOTHING = 0.15

#: Folders whose content tells how a run went, not what it found.
RECORDS = (
    ".snakemake",
    "results/logs",
    "results/benchmarks",
    "results/.slurm",
    "results/parts/.services",
)
#: Of a status: when, and after how much asking.
HISTORY = ("retrieved_utc", "reads", "squared_reads", "planned_requests")

#: Characters of what failed runs print.
_SHOWN = 5000
_END_S = 240.0
_RERUNS = 5


class ChaosError(AssertionError):
    """A trial that did not end as an undisturbed run."""


@dataclass
class Outcome:
    """What became of a trial.

    Attributes
    ----------
    seed : int
    violence : str
        What happened.
    start, moment : str
        From what, and when.
    notes : list of str
        How.
    struck : bool
        Whether the run was still there.
    returncode : int
        Of the run that was struck.
    reruns : int
        Runs that it took to complete it.
    seconds : float
        Duration of the trial [s].
    problem : str
        Empty if the results are those of the undisturbed run.
    """

    seed: int
    violence: str
    start: str = ""
    moment: str = ""
    notes: list[str] = field(default_factory=list)
    struck: bool = False
    returncode: int = 0
    reruns: int = 0
    seconds: float = 0.0
    problem: str = ""

    def __str__(self) -> str:
        what = f"{self.violence} at {self.moment}, from {self.start}"
        how = f" ({'; '.join(self.notes)})" if self.notes else ""
        end = f"exit code {self.returncode}, {self.reruns} further runs, {self.seconds:.0f} s"
        late = "" if self.struck else " TOO LATE"
        return f"seed {self.seed}: {what}{how}{late}: {end}: {self.problem or 'equal'}"


@dataclass
class Chaos:
    """The undisturbed run, the servers of its archives, and a folder for trials.

    Attributes
    ----------
    folder : Path
    laboratory : Laboratory
    undisturbed : Project
    longest_s : float
        How long a service may be away [s].
    """

    folder: Path
    laboratory: Laboratory
    undisturbed: Project
    longest_s: float

    @classmethod
    @contextmanager
    def prepared(
        cls, folder: Path, sky: Path, *, smallest: bool = False, longest_s: float = 60.0
    ) -> Iterator["Chaos"]:
        """Start the servers and run the project once, undisturbed."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Servers that start again have to be found where they were.
        with Laboratory(sky, port) as laboratory:
            project = small_project(folder / "undisturbed", sky, laboratory, smallest=smallest)
            run = project.snakemake()
            if run.returncode:
                raise ChaosError(f"the undisturbed run failed:\n{run.output}")
            yield cls(folder, laboratory, project, longest_s)

    def trial(self, seed: int) -> Outcome:
        """Run the trial of a seed."""
        names = list(VIOLENCE)
        outcome = Outcome(seed, names[seed % len(names)])
        begun = time.monotonic()
        disk = self.folder / f"trial-{seed}"
        disk.mkdir()
        try:
            with mounted("-t", "tmpfs", "-o", "size=128m", "none", str(disk)):
                self._trial(disk / "project", outcome)
        except (AssertionError, subprocess.SubprocessError) as error:
            outcome.problem = str(error)
        finally:
            disk.rmdir()
            self.laboratory.faults([])
        outcome.seconds = round(time.monotonic() - begun, 1)
        return outcome

    def _trial(self, root: Path, outcome: Outcome) -> None:
        chance = random.Random(outcome.seed)
        project, to_do = self._start_of(root, chance, outcome)
        scene = Scene(project, self.laboratory, chance, self.longest_s, notes=outcome.notes)
        stages = FETCH_STAGES if outcome.violence in AT_FETCHES else tuple(STAGES)
        stage = chance.choice(stages)
        pattern, each = STAGES[stage]
        nth = chance.randint(1, to_do[each]) if each else 0
        delay_s = chance.choice([0.0, chance.uniform(0, 1.0)]) if each else chance.uniform(0, 5.0)
        outcome.moment = f"{stage} {nth} + {delay_s:.2f} s"
        with VIOLENCE[outcome.violence](scene) as strike:
            before = _written(project, pattern)
            # Not a pipe: jobs that outlive Snakemake would keep it open.
            printed = self.folder / f"trial-{outcome.seed}.txt"
            with printed.open("w") as output, project.started(output=output) as run:
                scene.run = run
                if _comes_to(project, run, pattern, nth, before):
                    time.sleep(delay_s)
                    outcome.struck = run.poll() is None
                    if outcome.struck:
                        strike()
                outcome.returncode = run.wait(_END_S)
        outcome.reruns = _run_until_done(project, printed.read_text())
        left = processes_of(run.pid)
        if left:
            raise ChaosError(f"processes are left: {[process.cmdline() for process in left]}")
        differences = compare(contents(self.undisturbed.root), contents(root))
        if differences:
            raise ChaosError("; ".join(differences))

    def _start_of(
        self, root: Path, chance: random.Random, outcome: Outcome
    ) -> tuple[Project, dict[str, int]]:
        """Return a project that has something left to do, and how much."""
        parts = sorted(self.undisturbed.path("parts").glob("*/*.parquet"))
        if chance.random() < FROM_NOTHING:
            outcome.start = "nothing"
            project, lost = self.undisturbed.without_results(root), set(parts)
        else:
            # A service is what most can befall; it is asked by threads of the job.
            archive = "ztf" if outcome.violence in AT_PROCESSES else SERVICE
            possible = [part for part in parts if part.parent.name == archive]
            lost = {chance.choice(possible), *chance.sample(parts, chance.randint(0, 2))}
            project = self.undisturbed.copy(root)
            for part in lost:
                for name in (f"{part.stem}.parquet", f"{part.stem}.status.json"):
                    project.path("parts", part.parent.name, name).unlink()
            outcome.start = f"a run without {len(lost)} of {len(parts)} parts"
        shards = {part.stem for part in lost}
        return project, {"part": len(lost), "shard": len(shards), "run": 1}


def small_project(root: Path, sky: Path, laboratory: Laboratory, *, smallest: bool) -> Project:
    """A project with nine targets in two shards, two archives of Parquet files and a service.

    The smallest has one shard, and one archive beside the service.
    """
    project = services_project(root, sky, laboratory, [SERVICE], **LIMITS)
    configuration = project.configuration
    for name, endpoint in list(PARQUET.items())[: 1 if smallest else None]:
        configuration["archives"][name] = {"endpoint": endpoint, "limits": {"retries": 1}}
    if smallest:
        configuration["shards"] = {"max_targets": 9}
    project.configure(configuration)
    return project


def _written(project: Project, pattern: str) -> set[tuple[Path, int]]:
    """Files in the results, told from others of the same name that come after them."""
    found = set()
    for path in project.path().glob(pattern) if pattern else ():
        with suppress(FileNotFoundError):
            found.add((path, path.stat().st_ino))
    return found


def _comes_to(
    project: Project,
    run: subprocess.Popen[str],
    pattern: str,
    nth: int,
    before: set[tuple[Path, int]],
) -> bool:
    """Wait until n files were written; tell whether the run got there."""
    seen: set[tuple[Path, int]] = set()
    while run.poll() is None:
        seen |= _written(project, pattern) - before
        if len(seen) >= nth:
            return True
        time.sleep(0.005)
    return False


def _run_until_done(project: Project, output: str) -> int:
    """Run again as a user would, until it ends well; return how often that took."""
    for number in range(1, _RERUNS + 1):
        run = project.snakemake()
        if run.returncode and "--unlock" in run.output:
            unlocked = project.snakemake("--unlock")
            if unlocked.returncode:
                raise ChaosError(f"--unlock failed:\n{unlocked.output}")
            run = project.snakemake()
        if run.returncode == 0:
            return number
        output += run.output
    raise ChaosError(f"not done after {_RERUNS} further runs:\n{output[-_SHOWN:]}")


def contents(root: Path) -> dict[str, str]:
    """Digest of every file of a project, hidden ones too, but for the records of how a run went."""
    found = {}
    for folder, folders, files in os.walk(root):
        relative = Path(folder).relative_to(root)
        folders[:] = [
            name
            for name in folders
            if (relative / name).as_posix() not in RECORDS and name != "__pycache__"
        ]
        # Snakemake's own, of a folder that is an output: without it the folder's time counts.
        files = [name for name in files if name != ".snakemake_timestamp"]
        if not (folders or files):
            found[f"{relative.as_posix()}/"] = ""
        for name in files:
            path = Path(folder, name)
            found[(relative / name).as_posix()] = _digest(path)
    return found


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.name.endswith(".status.json"):
        status = json.loads(content)
        kept = {key: value for key, value in status.items() if key not in HISTORY}
        content = json.dumps(kept, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def compare(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Say which files are missing, too many or different."""
    return [
        *(f"missing: {name}" for name in sorted(expected.keys() - found.keys())),
        *(f"stray: {name}" for name in sorted(found.keys() - expected.keys())),
        *(
            f"different: {name}"
            for name in sorted(expected.keys() & found.keys())
            if expected[name] != found[name]
        ),
    ]


def end_by_sigterm() -> None:
    """Let SIGTERM end this process as an error does: with its mounts, servers and clusters."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def main() -> None:
    """Run trials and print a line for each; exit code 1 if one of them fails."""
    options = _parser().parse_args()
    if missing():
        sys.exit(missing())
    end_by_sigterm()
    from lightloom.sky.build import DEFAULT_SEED, build_sky

    with tempfile.TemporaryDirectory(prefix="chaos-", dir=options.folder) as folder:
        sky = options.sky or Path(folder) / "sky"
        if options.sky is None:
            build_sky(sky, REPOSITORY / SAMPLE, DEFAULT_SEED)
        results: Counter[tuple[str, str]] = Counter()
        place = Path(folder)
        with Chaos.prepared(
            place, sky.resolve(), smallest=options.smallest, longest_s=options.longest
        ) as chaos:
            for seed in range(options.first, options.first + options.trials):
                outcome = chaos.trial(seed)
                print(outcome, flush=True)
                if outcome.problem:
                    print(f"repeat with: --first {seed} --trials 1", flush=True)
                if options.record:
                    with options.record.open("a") as file:
                        file.write(json.dumps(asdict(outcome)) + "\n")
                results[outcome.violence, "FAILED" if outcome.problem else "equal"] += 1
    for (name, end), n_trials in sorted(results.items()):
        print(f"{name:16} {end:7} {n_trials}")
    sys.exit(any(end == "FAILED" for _, end in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Seeded violence against runs; needs root.")
    parser.add_argument(
        "--trials",
        type=int,
        default=int(os.environ.get("CHAOS_TRIALS", "100")),
        help="number of trials; the default is that of CHAOS_TRIALS, or 100",
    )
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed")
    parser.add_argument("--smallest", action="store_true", help="one shard, two archives")
    parser.add_argument("--longest", type=float, default=60.0, help="services are away [s]")
    parser.add_argument("--sky", type=Path, help="an embedded sky; one is built by default")
    parser.add_argument("--folder", type=Path, help="for the trials; default: for temporary files")
    parser.add_argument("--record", type=Path, help="file to which outcomes are appended (JSON)")
    return parser


if __name__ == "__main__":
    main()
