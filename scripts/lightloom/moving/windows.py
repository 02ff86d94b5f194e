"""Windows of time: calendar months or years, each fetched and matched by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
# ASSUME: two days after a night a source has all its alerts; brokers get them within minutes.
_LATE_D = 2.0


@dataclass(frozen=True)
class Window:
    """A part of the time range.

    Attributes
    ----------
    name : str
        Such as ``2021-03``; a part of a month that the range cuts is named by its days too.
    start_mjd, stop_mjd : float
        First moment, and the first one after it, UTC [d].
    """

    name: str
    start_mjd: float
    stop_mjd: float


def mjd_of_date(date: str) -> float:
    """Return the MJD at which an ISO date (``2021-03-01``) begins.

    Raises
    ------
    ValueError
        If it is no date.
    """
    moment = datetime.fromisoformat(date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _MJD_ZERO) / timedelta(days=1)


def date_of_mjd(mjd: float) -> datetime:
    """Return a UTC time, to the next millisecond, so that full minutes stay full."""
    return _MJD_ZERO + timedelta(milliseconds=round(mjd * 86_400_000))


def now() -> datetime:
    """Return the present time, UTC."""
    return datetime.now(UTC)


def day_of_search(stop_mjd: float) -> str:
    """Return today's date if alerts from before a time may still come, else nothing.

    What was searched on such a day is searched again on another day, until it is complete.
    """
    today = f"{now():%Y-%m-%d}"
    return today if stop_mjd + _LATE_D > mjd_of_date(today) else ""


def windows(start: str, stop: str, length: str) -> Iterator[Window]:
    """Cut a time range into calendar months or years.

    Parameters
    ----------
    start, stop : str
        ISO dates; the range ends where ``stop`` begins.
    length : {'month', 'year'}

    Yields
    ------
    Window
        In the order of time. A whole month keeps its name and its bounds however the range grows.
    """
    first, end = date_of_mjd(mjd_of_date(start)), date_of_mjd(mjd_of_date(stop))
    while first < end:
        year, month = first.year, first.month
        by_year = length == "year"
        opening = first.replace(month=1 if by_year else month, day=1)
        ends_year = by_year or month == 12
        following = opening.replace(year=year + ends_year, month=1 if ends_year else month + 1)
        last = min(following, end)
        name = f"{year:04d}" if by_year else f"{year:04d}-{month:02d}"
        if (first, last) != (opening, following):
            name += f"_{first:%Y%m%d}-{last:%Y%m%d}"
        yield Window(name, mjd_of_date(first.isoformat()), mjd_of_date(last.isoformat()))
        first = last
