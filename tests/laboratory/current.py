"""The application of the sky that is there now: it may be built, or built anew, meanwhile."""

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from laboratory.application import build_application, check_tokens
from laboratory.faults import FaultScript
from laboratory.requestlog import RequestLog
from laboratory.wires import Wires


class CurrentApplication:
    """An application that is made anew whenever the folder of the services is another one.

    Parameters
    ----------
    sky, script, log, tokens, wires
        As for `build_application`; the sky need not be there yet.

    Raises
    ------
    ValueError
        If a token is for none of the services.
    """

    def __init__(
        self,
        sky: Path,
        script: FaultScript,
        log: RequestLog,
        tokens: Mapping[str, str],
        wires: Wires,
    ) -> None:
        check_tokens(tokens)
        self._sky = sky
        self._parts = (script, log, tokens, wires)
        self._folder: tuple[int, int] | None = None
        self._application: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        folder = self._present_folder()
        # Not before it is asked: what lies there at the start may be the sky of an older version.
        if self._application is None or folder != self._folder:
            self._application = build_application(self._sky, *self._parts)
            self._folder = folder
        await self._application(scope, receive, send)

    def _present_folder(self) -> tuple[int, int] | None:
        services = self._sky / "services"
        if not services.is_dir():
            return None
        # A number of a removed folder may be given to the next one.
        found = services.stat()
        return found.st_ino, found.st_mtime_ns
