"""The objects of a publication, as NED, SIMBAD or VizieR list them."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io.votable.tree import Field, TableElement
from astroquery.ipac.ned import Ned
from astroquery.vizier import VizierClass

from lightloom.conditions import any_holds, is_text
from lightloom.config_sources import ResolverSpec
from lightloom.errors import ArchiveSchemaError, BadRequestError, SampleError
from lightloom.resolvers.listing import NAME, Listing, in_order
from lightloom.resolvers.queries import adql_name, adql_text
from lightloom.resolvers.votables import check_degrees, field_with_ucd, tables_of
from lightloom.sample.literature import vizier_catalogue
from lightloom.services.http import service_session
from lightloom.services.tap import Question, Service
from lightloom.services.tap_votable import ExpectedColumn, reply_table

#: Position that VizieR computes for every row, ICRS.
_VIZIER_POSITION = ("_RAJ2000", "_DEJ2000")

_SIMBAD_COLUMNS = (
    ExpectedColumn("main_id"),
    ExpectedColumn("ra", is_number=True, unit="deg"),
    ExpectedColumn("dec", is_number=True, unit="deg"),
)

_OBJECTS_OF_A_BIBCODE = (
    "SELECT {columns} FROM basic"
    " JOIN has_ref ON has_ref.oidref = basic.oid"
    " JOIN ref ON ref.oidbib = has_ref.oidbibref"
    " WHERE ref.bibcode = {bibcode}"
)


Conditions = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Publication:
    """A publication and which of its objects are meant.

    Attributes
    ----------
    bibcode : str
    service : {"ned", "simbad", "vizier"}
    catalogue : str or None
        At VizieR; without one that of the bibcode.
    where : sequence of (column, operator, value)
        Conditions that a row has to fulfil, all of them.
    expected_rows : int or None
        How many rows there should be, as far as known.
    """

    bibcode: str
    service: str
    catalogue: str | None = None
    where: Conditions = ()
    expected_rows: int | None = None


@dataclass(frozen=True)
class _Found:
    """A table under the service's names, and what id and coordinates are called in a listing."""

    table: pa.Table
    names: Mapping[str, str]


def list_publication(publication: Publication, spec: ResolverSpec, state: Path) -> Listing:
    """Ask for the objects of a publication.

    Parameters
    ----------
    publication : Publication
    spec : ResolverSpec
        The service.
    state : pathlib.Path
        Folder shared by all that asks services.

    Returns
    -------
    Listing
        ``name`` (not from every table of VizieR), ``ra``, ``dec`` and the columns of the
        conditions.

    Raises
    ------
    SampleError
        If no row fulfils the conditions.
    ArchiveError
        If the service cannot be asked, or answers with other columns.
    """
    ask = {"ned": _ask_ned, "simbad": _ask_simbad, "vizier": _ask_vizier}[publication.service]
    found = ask(publication, spec, state)
    # Conditions name columns as the service does.
    fulfilled = found.table.filter(_fulfilled(found.table, publication.where))
    names = [found.names.get(name, name) for name in fulfilled.column_names]
    kept = in_order(fulfilled.rename_columns(names))
    if not kept.num_rows:
        conditions = f" that fulfils {list(publication.where)}" if publication.where else ""
        raise SampleError(
            f"found no object{conditions} among {found.table.num_rows}, expected at least one"
        )
    return Listing(kept, remarks=_remarks(publication, kept.num_rows))


def _ask_ned(publication: Publication, spec: ResolverSpec, state: Path) -> _Found:
    payload = Ned.query_refcode(publication.bibcode, get_query_payload=True)
    response = service_session(spec, state).get(f"{spec.endpoint}/objsearch", params=payload)
    tables = tables_of(response)
    if not tables:
        raise ArchiveSchemaError(f"{spec.endpoint}: found no table, expected one of objects")
    roles = {
        role: field_with_ucd(tables[0], *words)
        for role, words in ((NAME, ["meta.id"]), ("ra", ["pos.eq.ra"]), ("dec", ["pos.eq.dec"]))
    }
    return _found(tables[0], roles, publication.where)


def _ask_simbad(publication: Publication, spec: ResolverSpec, state: Path) -> _Found:
    further = _columns(publication.where, ("ra", "dec", "main_id"))
    expected = [*_SIMBAD_COLUMNS, *map(ExpectedColumn, further)]
    adql = _OBJECTS_OF_A_BIBCODE.format(
        columns=", ".join(f"basic.{adql_name(column.name)}" for column in expected),
        bibcode=adql_text(publication.bibcode),
    )
    table = Service(spec, state).ask(Question(adql, expected, 1))
    return _Found(table, {"main_id": NAME, "ra": "ra", "dec": "dec"})


def _ask_vizier(publication: Publication, spec: ResolverSpec, state: Path) -> _Found:
    catalogue = publication.catalogue or vizier_catalogue(publication.bibcode)
    vizier = VizierClass(columns=["**", *_VIZIER_POSITION], row_limit=-1)
    payload = vizier.get_catalogs_async(catalogue, get_query_payload=True)
    response = service_session(spec, state).post(f"{spec.endpoint}/votable", data=payload)
    wanted = [*_VIZIER_POSITION, *_columns(publication.where, _VIZIER_POSITION)]
    tables = tables_of(response)
    chosen = [table for table in tables if set(wanted) <= {field.name for field in table.fields}]
    if len(chosen) != 1:
        found = "; ".join(f"{one.name} ({', '.join(f.name for f in one.fields)})" for one in tables)
        raise BadRequestError(
            f"VizieR, {catalogue}: found {len(chosen)} tables with the columns"
            f" {', '.join(wanted)}, expected one (the key catalogue may name it); all tables:"
            f" {found or 'none'}"
        )
    fields = {field.name: field for field in chosen[0].fields}
    roles: dict[str, Field | None] = {
        NAME: field_with_ucd(chosen[0], "meta.id", "meta.main"),
        "ra": fields[_VIZIER_POSITION[0]],
        "dec": fields[_VIZIER_POSITION[1]],
    }
    return _found(chosen[0], roles, publication.where)


def _found(table: TableElement, roles: Mapping[str, Field | None], where: Conditions) -> _Found:
    names = {field.name: role for role, field in roles.items() if field is not None}
    if not {"ra", "dec"} <= set(names.values()):
        found = ", ".join(field.name for field in table.fields)
        raise ArchiveSchemaError(f"found the columns {found}, expected coordinates among them")
    for field in table.fields:
        if names.get(field.name) in ("ra", "dec"):
            check_degrees(field)
    expected = [
        *(ExpectedColumn(name, is_number=role != NAME) for name, role in names.items()),
        *map(ExpectedColumn, _columns(where, names)),
    ]
    return _Found(reply_table(table, expected), names)


def _columns(where: Conditions, known: Container[str]) -> list[str]:
    """Return the columns of conditions besides the known ones."""
    return [name for name in dict.fromkeys(column for column, _, _ in where) if name not in known]


def _fulfilled(table: pa.Table, where: Conditions) -> pa.Array:
    fulfilled = np.ones(table.num_rows, dtype=bool)
    for column, operator, value in where:
        holds_text = is_text(table[column].type)
        if operator not in ("~", "!~", "&") and holds_text != isinstance(value, str):
            kind = "text" if holds_text else "numbers"
            raise SampleError(
                f"condition {[column, operator, value]}: column {column!r} holds {kind}, expected a"
                f" value of that kind, found {value!r}"
            )
        fulfilled &= any_holds(table, [(column, operator, value)])
    return pa.array(fulfilled)


def _remarks(publication: Publication, n_rows: int) -> tuple[str, ...]:
    if publication.expected_rows in (None, n_rows):
        return ()
    return (f"found {n_rows} objects, expected {publication.expected_rows}",)
