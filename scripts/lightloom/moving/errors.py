"""What can become of the search for an ephemeris, besides what can happen to any service."""

from lightloom.errors import ArchiveError


class UnresolvedError(ArchiveError):
    """The service knows no object of that name."""

    error_class = "unresolved"


class AmbiguousNameError(ArchiveError):
    """Several objects have that name."""

    error_class = "ambiguous"


class NoEphemerisError(ArchiveError):
    """The object is known, but has no ephemeris at these times."""

    error_class = "no_ephemeris"
