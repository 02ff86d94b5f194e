"""Replies in VOTable of services that are no TAP services."""

from io import BytesIO
from xml.parsers.expat import ExpatError

from astropy.io import votable
from astropy.io.votable.exceptions import VOWarning
from astropy.io.votable.tree import Field, TableElement, VOTableFile
from requests import Response

from lightloom.errors import ArchiveSchemaError, BadRequestError, TransientArchiveError

#: How services write the unit of coordinates; NED writes it out.
_DEGREES = (None, "deg", "degree", "degrees")


def tables_of(response: Response) -> list[TableElement]:
    """Return the tables of a reply.

    Parameters
    ----------
    response : requests.Response

    Returns
    -------
    list of astropy.io.votable.tree.TableElement
        Those that have columns.

    Raises
    ------
    TransientArchiveError
        If it is no VOTable: services in trouble answer with a page for people, or break off.
    BadRequestError
        If the VOTable says that the request is wrong.
    """
    try:
        # Of a function astropy unpacks nothing: a body has been unpacked, within its limit.
        document = votable.parse(BytesIO(response.content).read, verify="ignore")
    except (ExpatError, VOWarning, IndexError, ValueError, TypeError, MemoryError) as error:
        raise TransientArchiveError(
            f"{response.url}: expected a VOTable, found {response.text[:80]!r} ({error})"
        ) from error
    if message := _error(document):
        raise BadRequestError(f"{response.url}: {message}")
    return [table for table in document.iter_tables() if table.fields]


def field_with_ucd(table: TableElement, *words: str) -> Field | None:
    """Return the first column whose UCD has all the words.

    Parameters
    ----------
    table : astropy.io.votable.tree.TableElement
    *words : str
        Words of UCD1+, such as ``pos.eq.ra`` and ``meta.main``.
    """
    for field in table.fields:
        if set(words) <= set(str(field.ucd or "").lower().split(";")):
            return field
    return None


def check_degrees(field: Field) -> None:
    """Refuse coordinates in another unit than degrees.

    Raises
    ------
    ArchiveSchemaError
    """
    unit = None if field.unit is None else str(field.unit)
    if unit not in _DEGREES:
        raise ArchiveSchemaError(f"column {field.name!r} has unit {unit!r}, expected 'deg'")


def _error(document: VOTableFile) -> str:
    """Return what a document of an error says: DALI's, or that of NED."""
    for resource in document.resources:
        for info in resource.infos:
            if info.name == "QUERY_STATUS" and str(info.value).upper() == "ERROR":
                return (info.content or "the service reports an error").strip()
        for param in resource.params:
            if param.name == "Error":
                return str(param.value).strip()
    return ""
