"""The application of the sky that is there now: it may be built, or built anew, meanwhile."""

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from laboratory.application import build_application
from laboratory.faults import FaultScript
from laboratory.requestlog import RequestLog
from laboratory.wires import Wires


class CurrentApplication:
    """An application that is made anew whenever the folder of the services is another one.

    Parameters
    ----------
    sky, script, log, tokens, wires
        As for `build_application`; the sky need not be there yet.
    """

    def __init__(
        self,
        sky: Path,
        script: FaultScript,
        log: RequestLog,
        tokens: Mapping[str, str],
        wires: Wires,
    ) -> None:
        self._sky = sky
        self._parts = (script, log, tokens, wires)
        self._folder = self._present_folder()
        # A sky that is there at the start has to be right then.
        self._application = self._built()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        folder = self._present_folder()
        if folder != self._folder:
            self._application = self._built()
            self._folder = folder
        await self._application(scope, receive, send)

    def _present_folder(self) -> tuple[int, int] | None:
        services = self._sky / "services"
        if not services.is_dir():
            return None
        # A number of a removed folder may be given to the next one.
        found = services.stat()
        return found.st_ino, found.st_mtime_ns

    def _built(self) -> Starlette:
        script, log, tokens, wires = self._parts
        known = tokens if self._present_folder() is not None else {}
        return build_application(self._sky, script, log, known, wires)
