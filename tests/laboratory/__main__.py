"""Run the laboratory: ``python -m laboratory --sky sky --port 18088``."""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from laboratory.current import CurrentApplication
from laboratory.faults import FaultScript, Rule
from laboratory.requestlog import RequestLog
from laboratory.wires import Wires

HOST = "127.0.0.1"


class ReadyServer(uvicorn.Server):
    """A server that says in a file when it listens, and where, and that ends within moments."""

    def __init__(self, config: uvicorn.Config, ready: Path | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then write the file in one step."""
        await super().startup(sockets)
        if self._ready is not None and sockets:
            port = sockets[0].getsockname()[1]
            partial = self._ready.with_name(self._ready.name + ".part")
            partial.write_text(json.dumps({"port": port, "pid": os.getpid()}) + "\n")
            partial.replace(self._ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Remove the file and end at once: queries and jobs that run are not waited for."""
        await super().shutdown(sockets)
        if self._ready is not None:
            self._ready.unlink(missing_ok=True)
        os._exit(0)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING)
    rules = json.loads(options.faults.read_text()) if options.faults else []
    wires = Wires()
    application = CurrentApplication(
        options.sky,
        FaultScript([Rule.read(rule) for rule in rules]),
        RequestLog(options.log),
        dict(entry.split("=", 1) for entry in options.token),
        wires,
    )
    if options.end_with_input:
        threading.Thread(target=_end_with_input, daemon=True).start()
    config = uvicorn.Config(
        application,
        http=wires.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=0,
    )
    with socket.create_server((HOST, options.port), backlog=512) as listener:
        ReadyServer(config, options.ready).run([listener])


def _end_with_input() -> None:
    """End the server when the standard input is closed, as it is when the parent is killed."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m laboratory", description="Local servers for the archives' protocols."
    )
    parser.add_argument("--sky", type=Path, required=True, help="folder of the embedded sky")
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--log", type=Path, help="file for the log of requests (JSON lines)")
    parser.add_argument("--faults", type=Path, help="file with the fault script (JSON)")
    parser.add_argument("--ready", type=Path, help="file to write when the server listens")
    parser.add_argument(
        "--end-with-input", action="store_true", help="end when the standard input is closed"
    )
    parser.add_argument(
        "--token",
        action="append",
        default=[],
        metavar="SERVICE=TOKEN",
        help="token that a service demands; may be repeated",
    )
    return parser


if __name__ == "__main__":
    main()
