"""Observer tables of Horizons: from the parameters of a request to lines of text."""

import datetime
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from laboratory.smallbodies import AmbiguousError, SmallBodies
from lightloom.sky.moving.bodies import Body
from lightloom.sky.moving.ephemeris import Sight, magnitude, observe, uncertainty_arcsec
from lightloom.sky.moving.observers import JD_OF_MJD, SITES, Site, View, view

#: Most lines of a table.
MOST_LINES = 90_024
#: The zero of MJD.
MJD_ZERO = np.datetime64("1858-11-17T00:00", "us")
STARS = "*" * 79
MONTHS = [datetime.date(2000, month, 1).strftime("%b") for month in range(1, 13)]
STEP = re.compile(r"(\d+)\s*(d|days?|h|hours?|hr|m|min|minutes?)?$", re.IGNORECASE)
STEP_DAYS = {"d": 1.0, "h": 1 / 24, "m": 1 / 1440}
ARCSEC_PER_MINUTE = 60.0
LIGHT_MINUTES_PER_AU = 499.004783836 / 60
#: Limits of the Sun's elevation [deg] that end day and twilights, and their marks.
SUN_MARKS = ((-0.833, "*"), (-6.0, "C"), (-12.0, "N"), (-18.0, "A"))


class Rejection(Exception):  # noqa: N818 (some are no errors but lists to choose from)
    """There is no table; the message is what Horizons says instead.

    Parameters
    ----------
    message : str
        All of it.
    is_error : bool
        Whether it is one in the JSON form of the reply.
    """

    def __init__(self, message: str, is_error: bool = True) -> None:
        super().__init__(message)
        self.is_error = is_error


@dataclass(frozen=True)
class Table:
    """A reply without its rows."""

    head: str
    tail: str

    def with_rows(self, rows: pa.Table) -> str:
        """Return the whole text."""
        lines = "\n".join(rows["line"].to_pylist())
        return f"{self.head}$$SOE\n{lines}\n$$EOE\n{self.tail}"


@dataclass(frozen=True)
class Seen:
    """Everything that columns are made of."""

    body: Body
    utc_mjd: NDArray[np.float64]
    sight: Sight
    view: View
    site: Site
    is_precise: bool

    def elevation_deg(self, direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the elevation of directions, not a number from the centre of the Earth."""
        length = np.linalg.norm(direction, axis=-1)
        return np.degrees(np.arcsin(np.einsum("ni,ni->n", direction, self.view.zenith) / length))


def observer_table(bodies: SmallBodies, parameters: dict[str, str]) -> tuple[Table, pa.Table]:
    """Return a table and its rows (column `line`).

    Parameters
    ----------
    bodies : SmallBodies
        What can be asked for.
    parameters : dict of str to str
        Of the request, names in upper case.

    Raises
    ------
    Rejection
        Something is wrong with the parameters, or the object is not unique.
    """
    asked = {name: value.strip().strip("\"'").strip() for name, value in parameters.items()}
    if asked.get("EPHEM_TYPE", "OBSERVER").upper() not in ("OBSERVER", "O"):
        raise Rejection(f"EPHEM_TYPE: observer tables only, found {asked['EPHEM_TYPE']!r}\n")
    if asked.get("CSV_FORMAT", "NO").upper() != "YES" or asked.get("ANG_FORMAT") != "DEG":
        raise Rejection("CSV_FORMAT=YES and ANG_FORMAT=DEG only\n")
    try:
        body = bodies.find(parameters.get("COMMAND", ""))
    except AmbiguousError as error:
        raise Rejection(str(error), is_error=False) from error
    site = _site(asked.get("CENTER", "500@399"))
    utc_mjd, has_seconds = _times(parameters, asked)
    _check_span(body, utc_mjd)
    columns = [column for number in _quantities(asked) for column in QUANTITIES[number]]
    seen_from = view(site, utc_mjd)
    seen = Seen(
        body,
        utc_mjd,
        observe(body.orbit, seen_from),
        seen_from,
        site,
        asked.get("EXTRA_PREC", "NO").upper() == "YES",
    )
    kept = _kept(seen, asked)
    texts = [_dates(utc_mjd, has_seconds), *_flags(seen)]
    headings = [
        " Date__(UT)__HR:MN:SC.fff" if has_seconds else " Date__(UT)__HR:MN",
        " Date_________JDUT",
    ]
    texts.insert(1, [f" {jd:.9f}" for jd in utc_mjd + JD_OF_MJD])
    for column in columns:
        heading, values = column(seen)
        headings.append(heading)
        texts.append(values)
    lines = [",".join(entry) + "," for entry in zip(*texts, strict=True)]
    heading = ",".join([*headings[:2], " ", " ", *headings[2:]]) + ","
    rows = pa.table({"line": pa.array(np.array(lines, dtype=object)[kept], pa.string())})
    return Table(_head(body, site, utc_mjd, asked, heading), _tail(heading)), rows


def _site(text: str) -> Site:
    code, _, centre = text.partition("@")
    if centre not in ("", "399", "Earth", "earth") or code.upper() not in SITES:
        raise Rejection(
            f'No site matches. Use "*@body" to list, "c@body" to enter coords, ?! for help.\n'
            f"(found {text!r}; known here: {', '.join(sorted(SITES))})\n"
        )
    return SITES[code.upper()]


def _times(parameters: dict[str, str], asked: dict[str, str]) -> tuple[NDArray[np.float64], bool]:
    """Return the times (MJD, UTC) and whether they need seconds in print."""
    if "TLIST" in asked:
        try:
            values = [float(part) for part in re.split(r"[\s,'\"]+", asked["TLIST"]) if part]
        except ValueError as error:
            raise Rejection(
                f'Cannot interpret date. Type "?!" or try YYYY-MMM-DD {error}\n'
            ) from error
        if not values:
            raise Rejection(
                "BATVAR: no TLIST values found (or missing quotes)\n"
                "WLDINI: error loading execution-control file.\n"
            )
        times = np.array(values)
        # Below this a number is an MJD.
        return np.where(times > 1e6, times - JD_OF_MJD, times), True
    try:
        start, stop = (_date(asked[f"{name}_TIME"]) for name in ("START", "STOP"))
        step = asked["STEP_SIZE"]
    except KeyError as error:
        raise Rejection(f"BATVAR: {error.args[0]} is missing\n") from error
    if stop <= start:
        raise Rejection("Bad dates -- start must be earlier than stop\n")
    times = _grid(start, stop, step)
    return times, bool(np.any(np.abs(times * 1440 - np.round(times * 1440)) > 1e-5))


def _date(text: str) -> float:
    cleaned = re.sub(r"^(A\.D\.|AD)\s*", "", text.strip("\"' "))
    if cleaned.upper().startswith("JD"):
        return float(cleaned[2:]) - JD_OF_MJD
    for month, name in enumerate(MONTHS, 1):
        cleaned = re.sub(name, f"{month:02d}", cleaned, flags=re.IGNORECASE)
    try:
        if re.fullmatch(r"[\d.]+", cleaned):
            return float(cleaned) - JD_OF_MJD
        moment = np.datetime64(cleaned.replace(" ", "T"), "us")
        return float((moment - MJD_ZERO) / np.timedelta64(1, "D"))
    except ValueError as error:
        raise Rejection(
            f'Cannot interpret date. Type "?!" or try YYYY-MMM-DD {{HH:MN}} format: {text}\n'
        ) from error


def _grid(start: float, stop: float, step: str) -> NDArray[np.float64]:
    if not (found := STEP.match(step)) or int(found[1]) == 0:
        raise Rejection(f"Unknown units specification -- re-enter\n(found {step!r})\n")
    if found[2]:
        step_d = int(found[1]) * STEP_DAYS[found[2][0].lower()]
        if step_d > stop - start:
            raise Rejection("STEP_SIZE too big, exceeds available span.\n")
        count = math.floor((stop - start) / step_d + 1e-9)
    else:
        count = int(found[1])
        step_d = (stop - start) / count
    if count + 1 > MOST_LINES:
        raise Rejection(
            f"Projected output length (~{count + 1}) exceeds {MOST_LINES} line max "
            "-- change step-size\n"
        )
    return start + np.arange(count + 1) * step_d


def _check_span(body: Body, utc_mjd: NDArray[np.float64]) -> None:
    for limit, is_out, word in (
        (body.first_mjd, utc_mjd.min() < body.first_mjd, "prior to"),
        (body.last_mjd, utc_mjd.max() > body.last_mjd, "after"),
    ):
        if is_out:
            when = _moment(limit)
            raise Rejection(f'No ephemeris for target "{body.fullname}" {word} A.D. {when} UT\n')


def _quantities(asked: dict[str, str]) -> list[int]:
    text = asked.get("QUANTITIES", "")
    try:
        numbers = [int(part) for part in text.replace(" ", ",").split(",") if part]
    except ValueError as error:
        raise Rejection(f"Cannot interpret QUANTITIES: {text!r}\n") from error
    if missing := sorted(set(numbers) - set(QUANTITIES)):
        raise Rejection(f"QUANTITIES {missing} are not known here; known: {sorted(QUANTITIES)}\n")
    return sorted(set(numbers))


def _kept(seen: Seen, asked: dict[str, str]) -> NDArray[np.bool_]:
    kept = np.ones(len(seen.utc_mjd), dtype=bool)
    if not seen.site.is_centre:
        elevation = seen.elevation_deg(seen.sight.direction)
        if "AIRMASS" in asked:
            kept &= _airmass(elevation) <= float(asked["AIRMASS"])
        if asked.get("SKIP_DAYLT", "NO").upper() == "YES":
            kept &= _sun_elevation(seen) < SUN_MARKS[0][0]
    low, high = (float(part) for part in asked.get("SOLAR_ELONG", "0,180").split(","))
    kept &= (seen.sight.elongation_deg >= low) & (seen.sight.elongation_deg <= high)
    if "ANG_RATE_CUTOFF" in asked:
        rate = np.hypot(seen.sight.ra_rate, seen.sight.dec_rate)
        kept &= rate <= float(asked["ANG_RATE_CUTOFF"])
    return kept


def _sun_elevation(seen: Seen) -> NDArray[np.float64]:
    return seen.elevation_deg(seen.view.sun - seen.view.observer)


def _airmass(elevation_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the airmass (Kasten and Young 1989), infinite below the horizon."""
    above = np.maximum(elevation_deg, 0.0)
    value = 1 / (np.sin(np.radians(above)) + 0.50572 * (above + 6.07995) ** -1.6364)
    return np.where(elevation_deg > 0, value, np.inf)


def _flags(seen: Seen) -> list[list[str]]:
    n_times = len(seen.utc_mjd)
    if seen.site.is_centre:
        return [[" "] * n_times, [" "] * n_times]
    sun = _sun_elevation(seen)
    marks = np.full(n_times, " ", dtype=object)
    for limit, mark in reversed(SUN_MARKS):
        marks[sun > limit] = mark
    return [marks.tolist(), [" "] * n_times]


def _dates(utc_mjd: NDArray[np.float64], has_seconds: bool) -> list[str]:
    return [f" {text}" for text in _moments(utc_mjd, "ms" if has_seconds else "m")]


def _moments(utc_mjd: NDArray[np.float64], unit: str) -> list[str]:
    # Rounded to milliseconds first: 23:59:59.9999 is the next day.
    moments = MJD_ZERO.astype("datetime64[ms]") + np.round(utc_mjd * 86_400_000).astype(
        "timedelta64[ms]"
    )
    if unit == "m":
        moments = moments + np.timedelta64(30, "s")
    texts = np.datetime_as_string(moments, unit=unit)
    return [f"{t[:5]}{MONTHS[int(t[5:7]) - 1]}{t[7:10]} {t[11:]}" for t in texts]


def _moment(utc_mjd: float) -> str:
    return _moments(np.array([utc_mjd]), "ms")[0]


Column = Callable[[Seen], tuple[str, list[str]]]


def _number(heading: str, form: str, values: Callable[[Seen], NDArray[np.float64]]) -> Column:
    def column(seen: Seen) -> tuple[str, list[str]]:
        width = int(form.split(".")[0])
        return heading, [
            f"{value:{form}}" if math.isfinite(value) else "n.a.".rjust(width)
            for value in values(seen).tolist()
        ]

    return column


def _right_ascension(seen: Seen) -> tuple[str, list[str]]:
    if seen.is_precise:
        return "  R.A.___(ICRF)", [f"{value:15.9f}" for value in seen.sight.ra_deg.tolist()]
    return " R.A._(ICRF)", [f"{value:12.5f}" for value in seen.sight.ra_deg.tolist()]


def _declination(seen: Seen) -> tuple[str, list[str]]:
    if seen.is_precise:
        return "  DEC____(ICRF)", [f"{value:15.9f}" for value in seen.sight.dec_deg.tolist()]
    return " DEC_(ICRF)", [f"{value:11.5f}" for value in seen.sight.dec_deg.tolist()]


def _first_magnitude(seen: Seen) -> tuple[str, list[str]]:
    heading = "    T-mag" if seen.body.is_comet else "    APmag"
    return heading, [f"{value:9.3f}" for value in magnitude(seen.body, seen.sight).tolist()]


def _second_magnitude(seen: Seen) -> tuple[str, list[str]]:
    return ("  N-mag" if seen.body.is_comet else "  S-brt"), ["   n.a."] * len(seen.utc_mjd)


def _elongation_flag(seen: Seen) -> tuple[str, list[str]]:
    """Return whether the object leads or trails the Sun, along the equator of date."""
    sun = seen.view.sun - seen.view.observer
    normal = np.cross(seen.view.pole, sun)
    east = np.einsum("ni,ni->n", normal, seen.sight.direction) > 0
    return "/r", np.where(east, "/T", "/L").tolist()


def _uncertainty(index: int) -> Callable[[Seen], NDArray[np.float64]]:
    return lambda seen: uncertainty_arcsec(seen.body, seen.sight, seen.utc_mjd)[index]


def _azimuth(seen: Seen) -> NDArray[np.float64]:
    north = seen.view.pole - (
        np.einsum("ni,ni->n", seen.view.pole, seen.view.zenith)[:, None] * seen.view.zenith
    )
    east = np.cross(seen.view.pole, seen.view.zenith)
    towards = seen.sight.direction
    along_east = np.einsum("ni,ni->n", towards, east)
    along_north = np.einsum("ni,ni->n", towards, north)
    return np.degrees(np.arctan2(along_east, along_north)) % 360


def _speed(seen: Seen) -> NDArray[np.float64]:
    return np.hypot(seen.sight.ra_rate, seen.sight.dec_rate) / ARCSEC_PER_MINUTE


def _direction(seen: Seen) -> NDArray[np.float64]:
    return np.degrees(np.arctan2(seen.sight.ra_rate, seen.sight.dec_rate)) % 360


#: By number the columns of a quantity of the Horizons manual.
QUANTITIES: dict[int, list[Column]] = {
    1: [_right_ascension, _declination],
    3: [
        _number("  dRA*cosD", "10.6g", lambda seen: seen.sight.ra_rate),
        _number(" d(DEC)/dt", "10.6g", lambda seen: seen.sight.dec_rate),
    ],
    4: [
        _number(" Azi_(a-app)", "12.6f", _azimuth),
        _number(" Elev_(a-app)", "13.6f", lambda seen: seen.elevation_deg(seen.sight.direction)),
    ],
    8: [
        _number(" a-mass", "7.3f", lambda seen: _airmass(seen.elevation_deg(seen.sight.direction))),
        _number("mag_ex", "6.3f", lambda seen: np.full(len(seen.utc_mjd), np.nan)),
    ],
    9: [_first_magnitude, _second_magnitude],
    19: [
        _number("                r", "17.12f", lambda seen: seen.sight.sun_distance_au),
        _number("       rdot", "11.7f", lambda seen: seen.sight.sun_rate),
    ],
    20: [
        _number("             delta", "18.14f", lambda seen: seen.sight.distance_au),
        _number("     deldot", "11.7f", lambda seen: seen.sight.distance_rate),
    ],
    21: [
        _number(
            " 1-way_down_LT", "14.8f", lambda seen: seen.sight.distance_au * LIGHT_MINUTES_PER_AU
        )
    ],
    23: [_number("     S-O-T", "10.4f", lambda seen: seen.sight.elongation_deg), _elongation_flag],
    24: [_number("     S-T-O", "10.4f", lambda seen: seen.sight.phase_deg)],
    36: [
        _number(" RA_3sigma", "10.3f", _uncertainty(0)),
        _number(" DEC_3sigma", "11.3f", _uncertainty(1)),
    ],
    38: [
        _number(
            " POS_3sigma",
            "11.3f",
            lambda seen: np.hypot(*uncertainty_arcsec(seen.body, seen.sight, seen.utc_mjd)),
        )
    ],
    47: [
        _number(" Sky_motion", "11.7g", _speed),
        _number("  Sky_mot_PA", "12.4f", _direction),
        _number("  RelVel-ANG", "12.4f", lambda seen: np.full(len(seen.utc_mjd), np.nan)),
    ],
}


def _head(
    body: Body, site: Site, utc_mjd: NDArray[np.float64], asked: dict[str, str], heading: str
) -> str:
    lines = [STARS, f"JPL/HORIZONS {body.fullname:>30}", f"Rec #:{body.record}", " "]
    elements = _elements(body)
    physical = _physical(body)
    lines += [
        "IAU76/J2000 helio. ecliptic osc. elements (au, days, deg., period=Julian yrs):",
        " ",
        *elements,
        " ",
        *physical,
        STARS,
        "",
        "",
        STARS,
        "Ephemeris / API_USER            Pasadena, USA      / Horizons    ",
        STARS,
        f"Target body name: {body.fullname:<32}{{source: {body.source}}}",
        f"Center body name: {'Earth (399)':<32}{{source: ERFA epv00}}",
        f"Center-site name: {site.name}",
        STARS,
    ]
    if "TLIST" not in asked:
        lines += [
            f"Start time      : A.D. {_moment(utc_mjd[0])} UT      ",
            f"Stop  time      : A.D. {_moment(utc_mjd[-1])} UT      ",
            f"Step-size       : {asked['STEP_SIZE']}",
            STARS,
        ]
    lines += [
        "Atmos refraction: NO (AIRLESS)",
        "RA format       : DEG",
        "Time format     : BOTH",
        "Table format    : Comma Separated Values (spreadsheet)",
        STARS,
        "Initial IAU76/J2000 heliocentric ecliptic osculating elements (au, days, deg.):",
        *elements,
        *physical,
        "*" * len(heading),
        heading,
        "*" * len(heading),
    ]
    return "\n".join(lines) + "\n"


def _elements(body: Body) -> list[str]:
    orbit = body.orbit
    return [
        f"  EPOCH=  {body.epoch_mjd + JD_OF_MJD} (TDB)",
        f"   EC= {orbit.eccentricity:.16g}   QR= {orbit.perihelion_au:.16g}   "
        f"TP= {orbit.perihelion_mjd + JD_OF_MJD:.9f}",
        f"   OM= {orbit.node_deg:.16g}   W= {orbit.argument_deg:.16g}   "
        f"IN= {orbit.inclination_deg:.16g}",
    ]


def _physical(body: Body) -> list[str]:
    if body.is_comet:
        return [
            "Comet physical (GM= km^3/s^2; RAD= km):",
            "   GM= n.a.                RAD= n.a.",
            f"   M1=  {body.absolute_mag:g}     M2=  n.a.     k1=  {body.slope:g}    "
            "k2= n.a.     PHCOF= n.a.",
        ]
    return [
        "Asteroid physical parameters (km, seconds, rotational period in hours):",
        "   GM= n.a.                RAD= n.a.               ROTPER= n.a.",
        f"   H= {body.absolute_mag:g}                  G= {body.slope:g}                 B-V= n.a.",
    ]


def _tail(heading: str) -> str:
    return "*" * len(heading) + "\nComputations by the laboratory of the embedded sky\n"
