"""A process that asks a server as often as it may: folder, limits, URL, threads, number."""

import json
import random
import sys
import threading
import time
import urllib.request
from pathlib import Path

from lightloom.services.governor import Governor


def ask(governor: Governor, url: str, number: int) -> None:
    for _ in range(number):
        with governor.request():
            # A busy machine: between the admission and the arrival anything may happen.
            time.sleep(random.expovariate(1 / 0.05))
            urllib.request.urlopen(url).read()


if __name__ == "__main__":
    folder, limits, url, threads, number = sys.argv[1:]
    governor = Governor(Path(folder), json.loads(limits))
    workers = [
        threading.Thread(target=ask, args=(governor, url, int(number))) for _ in range(int(threads))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
