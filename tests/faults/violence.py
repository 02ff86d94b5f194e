"""What can befall a run: processes that are killed, disks, clocks, memory and services that fail.

Each entry of `VIOLENCE` is a context manager that is given the scene before the run starts, and
gives a function that strikes. When the context ends, whatever it was is over: the disk has room
again, the service answers.
"""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from laboratory import Laboratory
from project import Project

Strike = Callable[[], None]

#: Folder of a shared Dask cluster, in that of the project.
_CLUSTER = "cluster"
_DAY_S = 86_400.0
_LOOK_EVERY_S = 0.01


@dataclass
class Scene:
    """A run that something is about to happen to.

    Attributes
    ----------
    project : Project
    laboratory : Laboratory
        The servers of its archives.
    random : random.Random
        Of the trial: the same seed makes the same choices.
    longest_s : float
        How long a service may be away [s].
    run : subprocess.Popen
        Snakemake, once it is started.
    notes : list of str
        What was chosen and done.
    """

    project: Project
    laboratory: Laboratory
    random: random.Random
    longest_s: float
    run: subprocess.Popen[str] = field(init=False)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def configured(self, **sections: Any) -> Iterator[None]:
        """Replace sections of the project's configuration for some time."""
        before = self.project.configuration
        self.project.configure(before | sections)
        yield
        self.project.configure(before)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of the run whose command line has one of these words, oldest first."""
        found = []
        for process in processes_of(self.run.pid):
            with suppress(psutil.NoSuchProcess):
                if any(word in " ".join(process.cmdline()) for word in words):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def kill_one(self, *words: str) -> None:
        """Wait for such a process and kill it, unless the run ends before."""
        while self.run.poll() is None:
            # The shell above a job has its command line too.
            found = [process for process in self.processes(*words) if _is_python(process)]
            if found:
                process = self.random.choice(found)
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                    self.notes.append(f"killed one of {len(found)}")
                return
            time.sleep(_LOOK_EVERY_S)
        self.notes.append("the run was over")


def missing() -> str:
    """Say what is missing for disks that fill up and turn read-only; empty if nothing is."""
    if os.geteuid() != 0:
        return "chaos needs root: it mounts small disks"
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        try:
            with mounted("-t", "tmpfs", "none", folder):
                return ""
        except subprocess.CalledProcessError:
            return "chaos needs a system that may mount small disks"


def processes_of(session: int) -> list[psutil.Process]:
    """Processes of a session that have not ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _is_python(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("python")
    except psutil.NoSuchProcess:
        return False


@contextmanager
def kill_everything(scene: Scene) -> Iterator[Strike]:
    """SIGKILL for Snakemake and all its jobs at once."""
    yield lambda: os.killpg(scene.run.pid, signal.SIGKILL)


@contextmanager
def kill_snakemake(scene: Scene) -> Iterator[Strike]:
    """SIGKILL for Snakemake alone: nobody tells its jobs."""
    yield lambda: scene.run.kill()


@contextmanager
def kill_fetch(scene: Scene) -> Iterator[Strike]:
    """SIGKILL for a fetch job."""
    yield lambda: scene.kill_one("fetch_lightcurves")


@contextmanager
def kill_worker(scene: Scene) -> Iterator[Strike]:
    """SIGKILL for a worker process of a job's own Dask cluster."""
    with scene.configured(dask={"cluster": "local", "processes_from_requests": 1}):
        yield lambda: scene.kill_one("multiprocessing.spawn")


@contextmanager
def kill_scheduler(scene: Scene) -> Iterator[Strike]:
    """SIGKILL for the scheduler of a cluster that the jobs share; the user goes on without it."""
    with shared_cluster(scene.project) as section, scene.configured(dask=section):

        def strike() -> None:
            for process in psutil.process_iter():
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    command = " ".join(process.cmdline())
                    here = process.cwd() == str(scene.project.root)
                    if here and "distributed.cli.dask_scheduler" in command:
                        process.kill()

        yield strike


@contextmanager
def shared_cluster(project: Project) -> Iterator[dict[str, Any]]:
    """Run a Dask cluster of two workers beside a project; give what its configuration needs."""
    started = _cluster(project, "start", "--workers", "2", "--folder", _CLUSTER)
    started.check_returncode()
    try:
        yield {"scheduler_file": f"{_CLUSTER}/scheduler.json", "wait_for_workers_s": 5}
    finally:
        # It may be over: workers without a scheduler end after a while.
        _cluster(project, "stop", "--folder", _CLUSTER)
        shutil.rmtree(project.root / _CLUSTER)


def _cluster(project: Project, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "lightloom.cli", "cluster", *arguments],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(project.root / "scripts")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


@contextmanager
def little_memory(scene: Scene) -> Iterator[Strike]:
    """Workers that get too little memory, or jobs that the system gives no more."""
    if scene.random.random() < 0.5:
        mem_mb = scene.random.choice([100, 200, 400])
        scene.notes.append(f"jobs of {mem_mb} MB with processes of Dask")
        small = {
            name: options | {"limits": options.get("limits", {}) | {"mem_mb": mem_mb}}
            for name, options in scene.project.configuration["archives"].items()
        }
        workers = {"cluster": "local", "processes_from_requests": 1, "wait_for_workers_s": 5}
        with scene.configured(archives=small, dask=workers):
            yield lambda: None
        return

    def strike() -> None:
        for process in scene.processes(".snakemake/scripts"):
            with suppress(psutil.NoSuchProcess):
                limit = process.memory_info().vms + 4 * 2**20
                process.rlimit(resource.RLIMIT_AS, (limit, limit))
                scene.notes.append("no more memory for a job")

    yield strike


@contextmanager
def kill_service(scene: Scene) -> Iterator[Strike]:
    """SIGKILL for the archives' servers, which are started again."""
    away_s = scene.random.uniform(0.2, scene.longest_s)
    scene.notes.append(f"away for {away_s:.1f} s")
    process = psutil.Process(scene.laboratory.pid)

    def again() -> None:
        scene.laboratory.stop()
        scene.laboratory.start()

    with _later(away_s, again) as begin:

        def strike() -> None:
            process.kill()
            begin()

        yield strike


@contextmanager
def lose_network(scene: Scene) -> Iterator[Strike]:
    """No byte from the archives, or nothing but resets, for up to a minute."""
    away_s = scene.random.choice([0.05, 0.1, 0.3, 1.0]) * scene.longest_s
    process = psutil.Process(scene.laboratory.pid)
    if scene.random.random() < 0.5:
        scene.notes.append(f"silence for {away_s:.0f} s")
        with _later(away_s, process.resume) as begin:

            def silence() -> None:
                process.suspend()
                begin()

            yield silence
        return
    scene.notes.append(f"resets for {away_s:.0f} s")
    with _later(away_s, lambda: scene.laboratory.faults([])) as begin:

        def reset() -> None:
            scene.laboratory.faults([{"action": "reset"}])
            begin()

        yield reset


@contextmanager
def _later(seconds: float, action: Callable[[], None]) -> Iterator[Strike]:
    """Give a function after whose call the action is done in so many seconds; wait for it."""
    timer = threading.Timer(seconds, action)
    yield timer.start
    if timer.ident is not None:
        timer.join()


@contextmanager
def fill_disk(scene: Scene) -> Iterator[Strike]:
    """Leave no room on the disk: of the results alone, or of the working folder as well."""
    with ExitStack() as mounts:
        if scene.random.random() < 0.5:
            scene.notes.append("the disk of the results alone")
            disk = scene.project.root.parent / "disk"
            mounts.enter_context(_results_on(scene.project, disk))
        else:
            disk = scene.project.root
        filler = disk.parent / "filler" if disk == scene.project.root else disk / "filler"
        left_bytes = scene.random.choice([0, 0, 4096, 65_536])
        scene.notes.append(f"{left_bytes} bytes left")

        def strike() -> None:
            with filler.open("wb") as file:
                step = 2**26
                while step >= 4096:
                    try:
                        os.posix_fallocate(file.fileno(), file.tell(), step)
                        file.seek(step, os.SEEK_CUR)
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        step //= 2
                file.truncate(file.tell() - left_bytes)

        yield strike
        filler.unlink(missing_ok=True)


@contextmanager
def _results_on(project: Project, disk: Path) -> Iterator[None]:
    """Let the results be on a disk of their own for some time."""
    results = project.path()
    results.mkdir(exist_ok=True)
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=64m", "none", str(disk)):
        place = disk / "results"
        shutil.copytree(results, place)
        with mounted("--bind", str(place), str(results)):
            yield
        shutil.rmtree(results)
        shutil.copytree(place, results)
    disk.rmdir()


@contextmanager
def forbid_writing(scene: Scene) -> Iterator[Strike]:
    """Let the results become read-only: what is open stays open, nothing new can be written."""
    results = scene.project.path()
    results.mkdir(exist_ok=True)
    with ExitStack() as mounts:

        def strike() -> None:
            mounts.enter_context(mounted("--bind", str(results), str(results)))
            subprocess.run(["mount", "-o", "remount,ro,bind", str(results)], check=True)

        yield strike


@contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    """Mount for as long as the block lasts."""
    subprocess.run(["mount", *arguments], check=True, stderr=subprocess.PIPE)
    try:
        yield
    finally:
        # Processes that end may still hold it.
        subprocess.run(["umount", "--lazy", arguments[-1]], check=True)


@contextmanager
def turn_clock(scene: Scene) -> Iterator[Strike]:
    """Set the clock: what was written before has times of the future, or long past, thereafter."""
    shift_s = scene.random.choice([-400, -1, -1 / 24, 1 / 24, 1, 400]) * _DAY_S
    killed = scene.random.random() < 0.5
    scene.notes.append(f"files are {shift_s / 3600:+.0f} h off{', then killed' if killed else ''}")

    def strike() -> None:
        for folder in (scene.project.path(), scene.project.root / ".snakemake"):
            for path in folder.rglob("*"):
                with suppress(FileNotFoundError):
                    times = path.stat()
                    new = times.st_mtime_ns + int(shift_s * 1e9)
                    os.utime(path, ns=(new, new))
        if killed:
            os.killpg(scene.run.pid, signal.SIGKILL)

    yield strike


@contextmanager
def run_twice(scene: Scene) -> Iterator[Strike]:
    """Start another run, or look at what it would do, in the same folder."""
    options = scene.random.choice([(), (), ("--dry-run",)])
    scene.notes.append(f"a second run {' '.join(options)}".strip())

    def strike() -> None:
        second = scene.project.snakemake(*options)
        # One that comes when the first has let go of the folder finds nothing to do.
        if scene.run.poll() is None and not options and not second.nothing_to_do:
            assert second.returncode != 0, second.output
            refusals = ("cannot be locked", "another run is at work")
            assert any(words in second.output for words in refusals), second.output

    yield strike
    assert scene.run.returncode == 0, "the first run was harmed by the second"


VIOLENCE: dict[str, Callable[[Scene], AbstractContextManager[Strike]]] = {
    "kill_everything": kill_everything,
    "fill_disk": fill_disk,
    "run_twice": run_twice,
    "kill_snakemake": kill_snakemake,
    "kill_service": kill_service,
    "forbid_writing": forbid_writing,
    "kill_fetch": kill_fetch,
    "turn_clock": turn_clock,
    "little_memory": little_memory,
    "kill_worker": kill_worker,
    "lose_network": lose_network,
    "kill_scheduler": kill_scheduler,
}
