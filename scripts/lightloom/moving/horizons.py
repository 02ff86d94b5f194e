"""Ephemerides from JPL Horizons, by astroquery, within the limits of the service."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from astropy.table import MaskedColumn, Table
from astroquery.jplhorizons import HorizonsClass

from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    BadRequestError,
    TransientArchiveError,
)
from lightloom.moving.designations import Query, parse
from lightloom.moving.errors import AmbiguousNameError, NoEphemerisError, UnresolvedError
from lightloom.moving.service import ServiceSpec
from lightloom.moving.tracks import MINUTES_PER_DAY, FloatArray, Samples
from lightloom.moving.windows import date_of_mjd
from lightloom.services.http import service_session

#: Astrometric position, rates, magnitudes, r, delta, phase and 3-sigma uncertainties.
QUANTITIES = "1,3,9,19,20,24,36,38"

#: A URI of this length may be cut off on its way (astroquery only warns).
LONGEST_URI = 2000

_MJD_ZERO_JD = 2400000.5
_MAGNITUDES = ("V", "Tmag", "Nmag")
_NEEDED = ("datetime_jd", "RA", "DEC", "r", "delta", "alpha")
#: A line of the listing of an ambiguous name: record, epoch (year), designations.
_RECORD = re.compile(r"^\s*(\d+)\s+(-?\d{1,4})\s+(\S.*?)\s{2,}(\S.*?)(?:\s{2,}.*)?$")


@dataclass(frozen=True)
class Target:
    """An object as Horizons knows it.

    Attributes
    ----------
    id : str
        What is asked for: a designation, a number or a record of Horizons.
    id_type : str or None
        How it is asked for, as astroquery has it.
    is_comet, is_fragment : bool
    name : str
        Name in the reply, such as ``2P/Encke``.
    """

    id: str
    id_type: str | None
    is_comet: bool
    is_fragment: bool
    name: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON-able dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Target":
        """Make it from what ``as_dict`` has returned."""
        return cls(**document)


class Horizons:
    """Asks Horizons one question at a time.

    Parameters
    ----------
    spec : ServiceSpec
    state : Path
        Folder in which the jobs keep to the limits together.
    observatory : str
        Code of the Minor Planet Center, such as I41.
    most_lines : int
        Most lines in a reply.
    """

    def __init__(self, spec: ServiceSpec, state: Path, observatory: str, most_lines: int) -> None:
        self._endpoint = spec.endpoint
        self._session = service_session(spec, state)
        self._observatory = observatory
        self._most_lines = most_lines

    @property
    def n_requests(self) -> int:
        """Requests made so far."""
        return self._session.reads.requests

    def resolve(self, name: str, mjd: float) -> Target:
        """Find an object.

        Parameters
        ----------
        name : str
            As the user wrote it.
        mjd : float
            Near the times of interest: of several apparitions of a comet, the closest before it is
            taken if the service lists them.

        Raises
        ------
        UnresolvedError, AmbiguousNameError
        ArchiveError
            If the service fails.
        """
        query = parse(name)
        try:
            return self._found(name, query, mjd)
        except AmbiguousNameError as error:
            record = _record(str(error), date_of_mjd(mjd).year)
            if record is not None:
                return self._found(name, Query(record, ""), mjd)
            if query.is_comet or query.id.isdigit():
                raise
            return self._found(name, Query(query.id, "comet_name", is_comet=True), mjd)

    def sample(
        self, target: Target, start_mjd: float, stop_mjd: float, step_minutes: int
    ) -> Samples:
        """Return an ephemeris at even steps, both ends included.

        Parameters
        ----------
        target : Target
        start_mjd, stop_mjd : float
            Full minutes [MJD, UTC].
        step_minutes : int

        Returns
        -------
        Samples
            As many as the service gave.

        Raises
        ------
        NoEphemerisError
        ArchiveError
            If the service fails, or answers with something else than an ephemeris.
        """
        n_steps = round((stop_mjd - start_mjd) * MINUTES_PER_DAY / step_minutes)
        most_steps = self._most_lines - 1
        pieces = []
        for first in range(0, n_steps, most_steps):
            last = min(first + most_steps, n_steps)
            bounds = [start_mjd + n * step_minutes / MINUTES_PER_DAY for n in (first, last)]
            epochs = {
                "start": _date(bounds[0]),
                "stop": _date(bounds[1]),
                "step": f"{step_minutes}m",
            }
            table = self._ask(target.name, target, epochs)
            pieces.append(samples_of_table(table, target.name))
        fields = vars(pieces[0])
        joined = {name: np.concatenate([vars(one)[name] for one in pieces]) for name in fields}
        _, distinct = np.unique(joined["time_mjd"], return_index=True)
        return Samples(**{name: values[distinct] for name, values in joined.items()})

    def _found(self, name: str, query: Query, mjd: float) -> Target:
        target = Target(query.id, query.id_type or None, query.is_comet, query.is_fragment, name)
        start = np.floor(mjd)
        epochs = {"start": _date(start), "stop": _date(start + 1.0), "step": "1440m"}
        try:
            table = self._ask(name, target, epochs)
        except NoEphemerisError:
            # The object is known; which times it has is found out window by window.
            return target
        return Target(**{**target.as_dict(), "name": str(table["targetname"][0])})

    def _ask(self, name: str, target: Target, epochs: Mapping[str, str]) -> Table:
        query = HorizonsClass(
            id=target.id, id_type=target.id_type, location=self._observatory, epochs=dict(epochs)
        )
        payload = query.ephemerides_async(
            quantities=QUANTITIES,
            closest_apparition=target.is_comet,
            no_fragments=target.is_comet and not target.is_fragment,
            extra_precision=True,
            get_query_payload=True,
        )
        request = self._session.prepare_request(
            requests.Request("GET", self._endpoint, params=payload)
        )
        if len(request.url or "") >= LONGEST_URI:
            raise BadRequestError(
                f"{name}: found a request of {len(request.url or '')} characters, expected fewer"
                f" than {LONGEST_URI}"
            )
        return parse_reply(self._session.send(request), name, query)


def parse_reply(
    response: requests.Response, name: str, query: HorizonsClass | None = None
) -> Table:
    """Return the table in a reply of Horizons.

    Parameters
    ----------
    response : requests.Response
    name : str
        The object, for messages.
    query : HorizonsClass, optional
        The question.

    Raises
    ------
    UnresolvedError, AmbiguousNameError, NoEphemerisError
    ArchiveError
        If it is an error of another kind, was cut off, or has other columns than expected.
    """
    text = response.text
    if "$$SOE" in text and "$$EOE" not in text:
        raise TransientArchiveError(f"{name}: Horizons' reply breaks off before $$EOE")
    query = query or HorizonsClass(id=name)
    query.query_type = "ephemerides"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = query._parse_result(response)
    except ValueError as error:
        raise _classified(name, str(error), text) from error
    except (KeyError, IndexError, UnboundLocalError) as error:
        raise ArchiveSchemaError(
            f"{name}: Horizons' reply is not an ephemeris as expected ({error!r})"
        ) from error
    missing = [column for column in _NEEDED if column not in table.colnames]
    # Rates and uncertainties may be left out; without the others there is no track.
    if {"datetime_jd", "RA", "DEC"} & set(missing):
        raise ArchiveSchemaError(f"{name}: Horizons' reply lacks the columns {', '.join(missing)}")
    return table


def samples_of_table(table: Table, name: str) -> Samples:
    """Return the samples in a table of astroquery.

    Raises
    ------
    ArchiveSchemaError
        If positions or times are missing.
    """
    magnitude = next((_values(table, one) for one in _MAGNITUDES if one in table.colnames), None)
    samples = Samples(
        time_mjd=_values(table, "datetime_jd") - _MJD_ZERO_JD,
        ra_deg=_values(table, "RA"),
        dec_deg=_values(table, "DEC"),
        uncertainty_arcsec=_uncertainty(table),
        r_au=_values(table, "r"),
        delta_au=_values(table, "delta"),
        phase_deg=_values(table, "alpha"),
        v_mag=np.full(len(table), np.nan) if magnitude is None else magnitude,
    )
    if not np.isfinite(samples.ra_deg + samples.dec_deg + samples.time_mjd).all():
        raise ArchiveSchemaError(f"{name}: Horizons' reply has rows without time or position")
    return samples


def _uncertainty(table: Table) -> FloatArray:
    """Return the 3-sigma uncertainty of the position, or else that of its coordinates [arcsec]."""
    axis = _values(table, "RSS_3sigma")
    box = np.hypot(_values(table, "RA_3sigma"), _values(table, "DEC_3sigma"))
    return np.where(np.isfinite(axis), axis, box)


def _values(table: Table, column: str) -> FloatArray:
    """Return a column as floats, NaN where it is missing or ``n.a.``."""
    if column not in table.colnames:
        return np.full(len(table), np.nan)
    values = MaskedColumn(table[column])
    filled = np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
    return np.asarray(filled, dtype=np.float64)


def _classified(name: str, message: str, text: str) -> ArchiveError:
    said = " ".join(message.split())
    if "Ambiguous target name" in message:
        return AmbiguousNameError(f"{name}: several objects have this name:\n{message}")
    if "Unknown target" in message or "No matches found" in text:
        return UnresolvedError(f"{name}: Horizons knows no such object; check its designation")
    if "No ephemeris for target" in text:
        line = next(one for one in text.splitlines() if "No ephemeris for target" in one)
        return NoEphemerisError(f"{name}: {' '.join(line.split())}")
    if "exceeds" in text and "line max" in text:
        return BadRequestError(f"{name}: too many lines asked for: {said[:300]}")
    return BadRequestError(f"{name}: Horizons answered with an error: {said[-300:]}")


def _record(listing: str, year: int) -> str | None:
    """Return the record of the latest apparition up to a year, if all are of one object."""
    records = [match for line in listing.splitlines() if (match := _RECORD.match(line))]
    designations = {match[4].strip() for match in records}
    if len(designations) != 1:
        return None
    before = [match for match in records if int(match[2]) <= year]
    chosen = max(before, key=lambda match: int(match[2])) if before else records[0]
    return str(chosen[1])


def _date(mjd: float) -> str:
    return f"{date_of_mjd(mjd):%Y-%m-%d %H:%M}"
