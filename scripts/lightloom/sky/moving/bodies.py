"""The objects of the embedded sky: published orbits of comets and asteroids."""

import csv
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from lightloom.sky.moving.orbits import Orbits

TABLE = "elements.csv"

_ALWAYS_MJD = (50083.0, 70000.0)
#: Columns of the elements, and the attributes of `Orbits`.
_ELEMENTS = {
    "q_au": "perihelion_au",
    "e": "eccentricity",
    "i_deg": "inclination_deg",
    "node_deg": "node_deg",
    "peri_deg": "argument_deg",
    "tp_mjd": "perihelion_mjd",
}
_COLUMNS = (
    *("record", "designation", "name", "fullname", "aliases", "kind", "epoch_mjd"),
    *_ELEMENTS,
    *("absolute_mag", "slope", "sigma3_km", "sigma3_km_per_year"),
    *("first_mjd", "last_mjd", "source"),
)


@dataclass(frozen=True)
class Body:
    """One solution of an orbit; a comet may have several, for several apparitions.

    Attributes
    ----------
    record : str
        Number of the record; that of a numbered asteroid is its number.
    designation : str
        Primary one, such as ``2P``, ``73P-BT``, ``C/2020 F3``, ``99942``.
    name, fullname : str
        Such as ``Encke`` and ``2P/Encke``.
    aliases : tuple of str
        Other designations of the same object.
    kind : str
        ``comet`` or ``asteroid``.
    epoch_mjd : float
        Epoch of the elements (MJD, TDB).
    orbit : Orbits
        One orbit: its arrays have no dimension.
    absolute_mag, slope : float
        M1 and k1 of a comet, H and G of an asteroid.
    sigma3_km, sigma3_km_per_year : float
        Uncertainty at the epoch (3 sigma) and its growth; made up.
    first_mjd, last_mjd : float
        Between them there is an ephemeris (MJD, UTC); made up.
    source : str
        Where the elements were published.
    """

    record: str
    designation: str
    name: str
    fullname: str
    aliases: tuple[str, ...]
    kind: str
    epoch_mjd: float
    orbit: Orbits
    absolute_mag: float
    slope: float
    sigma3_km: float
    sigma3_km_per_year: float
    first_mjd: float
    last_mjd: float
    source: str

    @property
    def is_comet(self) -> bool:
        """Whether it is counted as a comet."""
        return self.kind == "comet"

    @property
    def is_fragment(self) -> bool:
        """Whether it is a part of a comet that broke up, such as ``73P-BT``."""
        return self.is_comet and "-" in self.designation


def bundled() -> list[Body]:
    """Return the objects that come with the sky."""
    return read_bodies(Path(str(files(__package__) / TABLE)))


def read_bodies(path: Path) -> list[Body]:
    """Read a table of objects, as `bundled` has it and the sky carries it as ``objects.csv``."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_body(row) for row in csv.DictReader(file)]


def bodies_of(orbits: Orbits, epoch_mjd: float, source: str) -> list[Body]:
    """Return numbered objects of an asteroid's kind with given orbits, without uncertainty."""
    first = 900_001
    return [
        Body(
            record=str(number),
            designation=str(number),
            name="",
            fullname=str(number),
            aliases=(),
            kind="asteroid",
            epoch_mjd=epoch_mjd,
            orbit=orbits[index],
            absolute_mag=12.0,
            slope=0.15,
            sigma3_km=0.0,
            sigma3_km_per_year=0.0,
            first_mjd=_ALWAYS_MJD[0],
            last_mjd=_ALWAYS_MJD[1],
            source=source,
        )
        for index, number in enumerate(range(first, first + len(orbits.eccentricity)))
    ]


def write_bodies(path: Path, bodies: list[Body]) -> None:
    """Write objects as a table that `read_bodies` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for body in bodies:
            values = vars(body) | {
                name: float(getattr(body.orbit, attribute)) for name, attribute in _ELEMENTS.items()
            }
            values["aliases"] = "|".join(body.aliases)
            writer.writerow([values[name] for name in _COLUMNS])


def main_solutions(bodies: list[Body]) -> list[Body]:
    """Return of each object the solution whose epoch is the latest, in the order of the table."""
    latest: dict[str, Body] = {}
    for body in bodies:
        known = latest.get(body.designation)
        if known is None or known.epoch_mjd < body.epoch_mjd:
            latest[body.designation] = body
    return list(latest.values())


def _body(row: dict[str, str]) -> Body:
    def number(name: str) -> float:
        return float(row[name])

    return Body(
        row["record"],
        row["designation"],
        row["name"],
        row["fullname"],
        tuple(part for part in row["aliases"].split("|") if part),
        row["kind"],
        number("epoch_mjd"),
        Orbits(**{attribute: np.array(number(name)) for name, attribute in _ELEMENTS.items()}),
        number("absolute_mag"),
        number("slope"),
        number("sigma3_km"),
        number("sigma3_km_per_year"),
        number("first_mjd"),
        number("last_mjd"),
        row["source"],
    )
