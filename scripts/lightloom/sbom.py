"""Software bill of materials: what the lock file pins, in the terms of CycloneDX 1.6 (ECMA-424).

`python -m lightloom.sbom sbom.cdx.json` writes it. The same lock file and environment give the same
bytes: no time and no random number is in it.
"""

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from lightloom import __version__
from lightloom.storage import atomic_path

LOCK = Path(__file__).parents[2] / "envs" / "requirements.lock"

#: A pin of a lock file, its marker, and the digests below it.
_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? *\\$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")

#: What joins the names of licences in an expression (SPDX 3.0, annex B).
_JOINS = re.compile(r"\s+(?:AND|OR)\s+|[()]")


@dataclass(frozen=True)
class Pin:
    """A package of the lock file.

    Attributes
    ----------
    name, version : str
    marker : str
        On which systems it is installed; empty for all.
    sha256 : tuple of str
        Digests of its archives.
    """

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]


def read_lock(path: Path = LOCK) -> list[Pin]:
    """Return the packages that a lock file pins, by name and version.

    Parameters
    ----------
    path : pathlib.Path
        A file of requirements with a version and digests for each.
    """
    pins: list[Pin] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if pin := _PIN.match(line):
            pins.append(
                Pin(canonicalize_name(pin["name"]), pin["version"], pin["marker"] or "", ())
            )
        elif pins:
            digests = (*pins[-1].sha256, *_HASH.findall(line))
            pins[-1] = Pin(pins[-1].name, pins[-1].version, pins[-1].marker, digests)
    return sorted(pins, key=lambda pin: (pin.name, pin.version))


def installed() -> dict[str, metadata.Distribution]:
    """Return the packages of this environment, by their normalised name (PEP 503)."""
    return {canonicalize_name(one.metadata["Name"]): one for one in metadata.distributions()}


def licences_of(distribution: metadata.Distribution) -> tuple[str, ...]:
    """Return the names of the licences that a package states, sorted; perhaps none.

    Parameters
    ----------
    distribution : importlib.metadata.Distribution
        The licence expression counts before the classifiers, these before the free text.
    """
    facts = distribution.metadata
    if expressions := facts.get_all("License-Expression", []):
        return tuple(sorted({name for name in _JOINS.split(expressions[0]) if name}))
    stated = [one for one in facts.get_all("Classifier", []) if one.startswith("License :: ")]
    names = {one.rpartition(" :: ")[2] for one in stated} - {"OSI Approved", "DFSG approved"}
    if not names:
        texts = [text.strip().partition("\n")[0] for text in facts.get_all("License", [])]
        names = {name for text in texts for name in _JOINS.split(text) if name}
    return tuple(sorted(names))


def bill(pins: list[Pin]) -> dict[str, Any]:
    """Return the bill of materials.

    Parameters
    ----------
    pins : list of Pin
        Packages that are not installed here, as those of other systems, have no licences in it.
    """
    here = installed()
    text = json.dumps([[pin.name, pin.version, *pin.sha256] for pin in pins])
    digest = hashlib.sha256(text.encode()).hexdigest()
    own = f"pkg:pypi/lightloom@{__version__}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{own}#{digest}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "lightloom",
                "version": __version__,
                "purl": own,
                "licenses": [{"license": {"id": "BSD-3-Clause"}}],
            }
        },
        "components": [_component(pin, here.get(pin.name)) for pin in pins],
    }


def _component(pin: Pin, distribution: metadata.Distribution | None) -> dict[str, Any]:
    purl = f"pkg:pypi/{pin.name}@{pin.version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": pin.name,
        "version": pin.version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in pin.sha256],
    }
    if distribution is not None and distribution.version == pin.version:
        names = licences_of(distribution)
        component["licenses"] = [{"license": {"name": name}} for name in names]
    if pin.marker:
        component["properties"] = [{"name": "lightloom:marker", "value": pin.marker}]
    return component


def problems(
    pins: list[Pin], allowed: set[str], exceptions: dict[str, dict[str, str]]
) -> Iterator[str]:
    """Yield what is wrong with the packages of this environment.

    Parameters
    ----------
    pins : list of Pin
    allowed : set of str
        Names of licences that any package may have.
    exceptions : dict
        By package, the ``licence`` that it has instead and the ``reason`` why it may.
    """
    locked = {(pin.name, pin.version): pin for pin in pins}
    here = installed()
    for name, distribution in sorted(here.items()):
        pin = locked.get((name, distribution.version))
        if name in ("lightloom", "pip", "setuptools") and pin is None:
            continue
        if pin is None or not pin.sha256:
            yield f"{name} {distribution.version}: installed, but not in the lock file with a hash"
        found = licences_of(distribution)
        wrong = [one for one in found if one not in allowed]
        if name in exceptions:
            if not wrong and found:
                yield f"{name}: its licences are allowed, so it needs no exception"
        elif wrong or not found:
            yield f"{name}: found the licence {', '.join(wrong) or 'none'}, expected one allowed"
    for name in sorted(exceptions.keys() - here.keys()):
        yield f"{name}: an exception, but not installed"


if __name__ == "__main__":
    with atomic_path(Path(sys.argv[1])) as temporary:
        temporary.write_text(json.dumps(bill(read_lock()), indent=1) + "\n", encoding="utf-8")
