"""A signal ends a run also if it does not wake the main thread."""

import signal
import subprocess
import sys

import pytest

# Where another thread takes the signal, the main one goes on waiting, as it does if the signal
# comes just before it begins to wait.
SCRIPT = """
import signal, sys, threading
from lightloom.interruption import end_with_jobs

end_with_jobs()
number = int(sys.argv[1])
taken = threading.Event()

def take() -> None:
    signal.pthread_kill(threading.get_ident(), number)
    taken.wait()

threading.Timer(0.5, take).start()
try:
    threading.Semaphore(0).acquire()
except KeyboardInterrupt:
    print("interrupted")
taken.set()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_that_does_not_wake_the_main_thread(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SCRIPT, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "interrupted\n"
