"""All services and the controls of the laboratory as one application."""

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from laboratory import services as service_modules
from laboratory.exchange import RequestProblemError, Service
from laboratory.faults import FaultScript, FaultScriptError, Rule
from laboratory.gate import Gate
from laboratory.requestlog import RequestLog
from laboratory.wires import Wires


def check_tokens(tokens: Mapping[str, str]) -> None:
    """Raise ValueError if a token is for none of the services."""
    known = sorted(module.name for module in pkgutil.iter_modules(service_modules.__path__))
    if unknown := sorted(set(tokens) - set(known)):
        raise ValueError(f"tokens for unknown services {unknown}; services: {known}")


def find_services(sky: Path) -> dict[str, Service]:
    """Return the services whose tables the sky has.

    Every module of the folder ``services`` offers ``service(folder)``; its name is that of the
    folder with its tables below ``<sky>/services``.
    """
    found = {}
    for module in pkgutil.iter_modules(service_modules.__path__):
        folder = sky / "services" / module.name
        if folder.is_dir():
            code = importlib.import_module(f"{service_modules.__name__}.{module.name}")
            found[module.name] = code.service(folder)
    return found


def build_application(
    sky: Path, script: FaultScript, log: RequestLog, tokens: Mapping[str, str], wires: Wires
) -> Starlette:
    """Build the application.

    Parameters
    ----------
    sky : Path
        Folder of the embedded sky.
    script : FaultScript
        The faults; may change while the application runs.
    log : RequestLog
        Where requests are noted.
    tokens : mapping of str to str
        By service the token that it demands.
    wires : Wires
        The connections of the server.
    """
    services = find_services(sky)
    routes = [
        *_controls(script, log),
        *(Mount(f"/{name}", routes=service.routes) for name, service in services.items()),
    ]
    gate = Middleware(Gate, services=services, script=script, log=log, tokens=tokens, wires=wires)

    async def explain(request: Request, problem: Exception) -> Response:
        name = request.url.path.split("/")[1]
        status = problem.status if isinstance(problem, RequestProblemError) else 500
        return services[name].error(str(problem), status)

    return Starlette(
        routes=routes, middleware=[gate], exception_handlers={RequestProblemError: explain}
    )


def _controls(script: FaultScript, log: RequestLog) -> list[Route]:
    async def get_faults(request: Request) -> Response:
        return JSONResponse(script.report())

    async def set_faults(request: Request) -> Response:
        try:
            script.replace([Rule.read(document) for document in await request.json()])
        except (FaultScriptError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(script.report())

    async def get_log(request: Request) -> Response:
        await log.settled()
        return JSONResponse(log.since(float(request.query_params.get("since", "0"))))

    async def clear_log(request: Request) -> Response:
        log.clear()
        return JSONResponse([])

    return [
        Route("/__faults", get_faults, methods=["GET"]),
        Route("/__faults", set_faults, methods=["POST"]),
        Route("/__log", get_log, methods=["GET"]),
        Route("/__log/clear", clear_log, methods=["POST"]),
    ]
