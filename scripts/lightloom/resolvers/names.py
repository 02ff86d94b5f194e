"""Names of objects: SIMBAD resolves them all at once, Sesame those that it writes otherwise."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from lightloom.config_sources import ResolverSpec
from lightloom.errors import TransientArchiveError
from lightloom.resolvers.listing import NAME, Listing, Unresolved
from lightloom.services.http import ServiceSession, service_session
from lightloom.services.retries import retrying
from lightloom.services.tap import Question, Service
from lightloom.services.tap_votable import ExpectedColumn, upload_bytes

#: Names of an upload.
NAMES_PER_QUERY = 10_000

_ASKED_ROW = "asked_row"

_POSITIONS_OF_NAMES = (
    f"SELECT asked.{_ASKED_ROW}, basic.ra, basic.dec FROM TAP_UPLOAD.asked AS asked"
    " JOIN ident ON ident.id = asked.name JOIN basic ON basic.oid = ident.oidref"
)

_EXPECTED = (
    ExpectedColumn(_ASKED_ROW, is_number=True),
    ExpectedColumn("ra", is_number=True, unit="deg"),
    ExpectedColumn("dec", is_number=True, unit="deg"),
)

#: SIMBAD first, then NED, then VizieR, as astropy asks Sesame.
_DATABASES = "SNV"

_POSITION = re.compile(r"^%J\s+(\d[\d.]*)\s+([+-]?\d[\d.]*)\b", re.MULTILINE)

Position = tuple[float, float]


def list_names(
    entries: Sequence[tuple[int, str]], simbad: ResolverSpec, sesame: ResolverSpec, state: Path
) -> Listing:
    """Resolve names.

    Parameters
    ----------
    entries : sequence of (row, name)
    simbad, sesame : ResolverSpec
        The services.
    state : pathlib.Path
        Folder shared by all that asks services.

    Returns
    -------
    Listing
        ``name``, ``ra`` and ``dec`` in the order of the entries.

    Raises
    ------
    ArchiveError
        If a service cannot be asked.
    """
    positions: dict[int, Position] = {}
    # VOTable's char is ASCII, and so are the identifiers of SIMBAD; XML has no control characters.
    plain = [
        number for number, (_, name) in enumerate(entries) if name.isascii() and name.isprintable()
    ]
    for begin in range(0, len(plain), NAMES_PER_QUERY):
        asked = plain[begin : begin + NAMES_PER_QUERY]
        names = [entries[number][1] for number in asked]
        positions |= retrying(simbad.limits)(_ask_simbad, asked, names, simbad, state)
    with service_session(sesame, state) as session:
        for number, (_, name) in enumerate(entries):
            if number not in positions:
                found = retrying(sesame.limits)(_ask_sesame, session, sesame.endpoint, name)
                if found is not None:
                    positions[number] = found
    numbers = sorted(positions)
    table = pa.table(
        {
            NAME: pa.array([entries[number][1] for number in numbers], pa.string()),
            "ra": pa.array([positions[number][0] for number in numbers], pa.float64()),
            "dec": pa.array([positions[number][1] for number in numbers], pa.float64()),
        }
    )
    missing = [entry for number, entry in enumerate(entries) if number not in positions]
    return Listing(table, tuple(Unresolved(row, name) for row, name in missing))


def _ask_simbad(
    asked: Sequence[int], names: Sequence[str], spec: ResolverSpec, state: Path
) -> dict[int, Position]:
    upload = pa.table({_ASKED_ROW: np.array(asked, dtype=np.int64), "name": list(names)})
    question = Question(
        _POSITIONS_OF_NAMES, _EXPECTED, len(asked), "asked", upload_bytes(upload, {})
    )
    # Some objects of SIMBAD have no position.
    rows = Service(spec, state).ask(question).drop_null().to_pylist()
    return {row[_ASKED_ROW]: (row["ra"], row["dec"]) for row in rows}


def _ask_sesame(session: ServiceSession, endpoint: str, name: str) -> Position | None:
    url = f"{endpoint}/{_DATABASES}?{quote(name, safe='')}"
    text = session.get(url).text
    if found := _POSITION.search(text):
        return float(found[1]), float(found[2])
    if "nothing found" in text.lower():
        return None
    raise TransientArchiveError(f"{url}: expected a reply of Sesame, found {text[:80]!r}")
