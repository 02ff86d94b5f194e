"""Validation of RO-Crates without network."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import requests
from rocrate_validator.services import validate
from rocrate_validator.utils.document_loader import (
    install_document_loader,
    uninstall_document_loader,
)
from rocrate_validator.utils.http import HttpRequester

#: Terms that version 1.1 of the context defines otherwise than the one that the rocrate package has
#: (https://www.researchobject.org/ro-crate/specification/1.1/context.jsonld).
_TERMS_OF_1_1 = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}


@contextmanager
def _shipped_context() -> Iterator[None]:
    context = json.loads((files("rocrate") / "data" / "ro-crate.jsonld").read_text())
    context["@context"] |= _TERMS_OF_1_1
    answer = requests.Response()
    answer.status_code = 200
    answer.headers["Content-Type"] = "application/ld+json"
    answer._content = json.dumps(context).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpRequester, "get", lambda *_, **__: answer, raising=False)
        install_document_loader()
        yield
        uninstall_document_loader()


def crate_problems(crate: Path, severity: str = "REQUIRED") -> list[str]:
    """Return what the validator finds wrong with a Workflow Run Crate.

    Parameters
    ----------
    crate : pathlib.Path
        Its folder.
    severity : str
        ``REQUIRED``, or ``RECOMMENDED`` to hear of more.
    """
    settings: dict[str, Any] = {
        "rocrate_uri": str(crate),
        "profile_identifier": "workflow-run-crate",
        "requirement_severity": severity,
        "skip_availability_check": True,
        "no_cache": True,
    }
    with _shipped_context(), warnings.catch_warnings():
        # Of rdflib and pyshacl about each other.
        warnings.simplefilter("ignore", DeprecationWarning)
        result = validate(settings)
    return sorted({f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()})
