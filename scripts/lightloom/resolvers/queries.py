"""Targets from any query to a TAP service, and how values are written into a query."""

from pathlib import Path

from lightloom.config_sources import ResolverSpec, TapSource
from lightloom.errors import SampleError
from lightloom.resolvers.listing import Listing, in_order
from lightloom.services.tap import Question, Service
from lightloom.services.tap_votable import ExpectedColumn


def list_query(source: TapSource, spec: ResolverSpec, state: Path) -> Listing:
    """Ask a TAP service for targets.

    Parameters
    ----------
    source : TapSource
        The query, and the columns that it yields.
    spec : ResolverSpec
        The service.
    state : pathlib.Path
        Folder shared by all that asks services.

    Returns
    -------
    Listing
        The columns that the source names, under their own names.

    Raises
    ------
    SampleError
        If the query yields no row.
    ArchiveError
        If the service cannot be asked, does not understand the query, cuts the reply off, or
        answers with other columns.
    """
    others = (source.id, source.label_column, source.pmra, source.pmdec, source.parallax)
    epoch = source.ref_epoch if isinstance(source.ref_epoch, str) else None
    columns = dict.fromkeys(name for name in (*others, epoch) if name is not None)
    expected = [
        *map(ExpectedColumn, columns),
        ExpectedColumn(source.ra, is_number=True, unit="deg"),
        ExpectedColumn(source.dec, is_number=True, unit="deg"),
    ]
    table = Service(spec, state).ask(Question(source.adql, expected, 1))
    if not table.num_rows:
        raise SampleError("found no row in the reply to the query, expected at least one")
    return Listing(in_order(table))


def adql_text(text: str) -> str:
    """Return a text as ADQL writes it, whatever characters it has.

    Examples
    --------
    >>> adql_text("Barnard's star")
    "'Barnard''s star'"
    """
    return "'" + text.replace("'", "''") + "'"


def adql_name(name: str) -> str:
    """Return the name of a column as ADQL writes it, whatever characters it has.

    Examples
    --------
    >>> adql_name("ra")
    '"ra"'
    """
    return '"' + name.replace('"', '""') + '"'
