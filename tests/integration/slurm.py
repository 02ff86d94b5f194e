"""A Slurm on this machine: controller and nodes on loopback, with folders and ports of their own.

Several may run at the same time, and none touches the system's configuration. It is installed by
.ci/install-services; without it, what needs it is skipped. There is no accounting, as on small
clusters: the state of a job is what ``squeue`` tells.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
_WAIT_S = 30.0
# Nodes are one machine under several names. CPUs and memory are what Slurm hands out, not what
# there is. A job whose node has died is not begun anew by Slurm: the workflow does that.
_SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SlurmdTimeout={node_timeout_s}
ReturnToService=2
JobRequeue=0
KillWait=3
MailProg=/bin/true
MpiDefault=none
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=500 State=UP
"""


def missing() -> str:
    """Say what is missing to run Slurm here; empty if nothing is."""
    absent = [program for program in _PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not installed (.ci/install-services installs Slurm)"
    return "" if os.geteuid() == 0 else "Slurm is started as root only"


@dataclass
class Slurm:
    """A running Slurm.

    Attributes
    ----------
    folder : Path
        Its configuration, state and logs.
    nodes : tuple of str
        Names of the nodes.
    """

    folder: Path
    nodes: tuple[str, ...]
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use this Slurm, besides its own environment."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def call(self, *command: str) -> str:
        """Run a command of Slurm and return what it prints.

        Raises
        ------
        RuntimeError
            If it fails.
        """
        done = subprocess.run(
            command,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def jobs(self, *states: str) -> list[str]:
        """Numbers of the jobs in these states; by default of all that have not ended."""
        wanted = ["--states", ",".join(states)] if states else []
        return self.call("squeue", "--noheader", "--format", "%i", *wanted).split()

    def submitted(self) -> int:
        """Number of jobs that were submitted since the start."""
        log = (self.folder / "slurmctld.log").read_text()
        return log.count("_slurm_rpc_submit_batch_job: JobId=")

    def start_node(self, name: str) -> None:
        """Start a node's daemon again and wait until jobs may run there."""
        self._start(name, "slurmd", "-D", "-N", name)
        _wait_until(lambda: self._is_up(name), f"node {name}")

    def kill_node(self, name: str) -> None:
        """End a node as a power cut would: its daemon, and every job on it."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()
        _kill(self._processes_of_jobs(name))

    def node_state(self, name: str) -> str:
        """State of a node, as ``sinfo`` words it."""
        return self.call("sinfo", "--noheader", "--nodes", name, "--format", "%T").strip()

    def processes_of_jobs(self) -> list[psutil.Process]:
        """Processes that jobs have left or still run, on all nodes."""
        return self._processes_of_jobs(*self.nodes)

    def start(self) -> None:
        """Start the daemons, controller first."""
        _prepare_munge(self.folder / "munge")
        self._start("munged", *_munged(self.folder / "munge"))
        _wait_until((self.folder / "munge" / "socket").exists, "munged")
        self._start("slurmctld", "slurmctld", "-D")
        for name in self.nodes:
            self._start(name, "slurmd", "-D", "-N", name)
        for name in self.nodes:
            _wait_until(lambda name=name: self._is_up(name), f"node {name}")

    def stop(self) -> None:
        """End the daemons and everything that jobs have left."""
        _kill(self.processes_of_jobs())
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        self._daemons.clear()

    def _is_up(self, name: str) -> bool:
        try:
            return self.node_state(name) in ("idle", "mixed", "allocated")
        except RuntimeError:
            # The controller does not listen yet.
            return False

    def _processes_of_jobs(self, *nodes: str) -> list[psutil.Process]:
        """Processes of the jobs on these nodes, with the daemons above them."""
        found = set()
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                environment = process.environ()
                if (
                    environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]
                    and environment.get("SLURMD_NODENAME") in nodes
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    steps = [above for above in process.parents() if above.name() == "slurmstepd"]
                    found.update([process, *steps])
        return sorted(found, key=lambda process: process.pid)

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as output:
            self._daemons[name] = subprocess.Popen(
                command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def serve(
    n_nodes: int = 2, *, cpus: int = 4, mem_mb: int = 16_000, node_timeout_s: int = 10
) -> Iterator[Slurm]:
    """Start Slurm, and end it with everything that its jobs have left.

    Parameters
    ----------
    n_nodes : int, optional
        Nodes, all of them this machine.
    cpus, mem_mb : int, optional
        Cores and memory [MB] that Slurm hands out on each node.
    node_timeout_s : int, optional
        After so long without a sign of life a node counts as down [s].

    Yields
    ------
    Slurm
    """
    # The path of a socket may have 107 characters, too few for pytest's folders.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        names = tuple(f"n{number}" for number in range(1, n_nodes + 1))
        slurm = Slurm(Path(folder), names)
        _configure(slurm, cpus, mem_mb, node_timeout_s)
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()


def _configure(slurm: Slurm, cpus: int, mem_mb: int, node_timeout_s: int) -> None:
    host = socket.gethostname().partition(".")[0]
    controller_port, *ports = _free_ports(1 + len(slurm.nodes))
    text = _SLURM_CONF.format(
        host=host,
        user=getpass.getuser(),
        folder=slurm.folder,
        controller_port=controller_port,
        node_timeout_s=node_timeout_s,
    )
    for name, port in zip(slurm.nodes, ports, strict=True):
        text += (
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            f" CPUs={cpus} RealMemory={mem_mb}\n"
        )
        (slurm.folder / f"spool.{name}").mkdir()
    (slurm.folder / "state").mkdir()
    configuration = slurm.folder / "slurm.conf"
    configuration.write_text(text)
    # Snakemake's executor takes the variables of Slurm from the environment of a step, so this one
    # must not be looked for there.
    wrapper = slurm.folder / "bin" / "srun"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    wrapper.chmod(0o755)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _prepare_munge(folder: Path) -> None:
    folder.mkdir(mode=0o755, exist_ok=True)
    key = folder / "key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))


def _munged(folder: Path) -> list[str]:
    options = {"socket": "socket", "key-file": "key", "log-file": "log"}
    options |= {"pid-file": "pid", "seed-file": "seed"}
    # Forced: folders for temporary files may be written by others.
    files = [f"--{option}={folder / name}" for option, name in options.items()]
    return ["munged", "--foreground", "--force", *files]


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def _wait_until(is_ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not start within {_WAIT_S:.0f} s")
        time.sleep(0.05)
