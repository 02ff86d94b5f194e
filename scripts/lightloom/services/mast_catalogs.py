"""Queries of MAST's catalogue interface, which answers with one page of a table at a time.

See https://catalogs.mast.stsci.edu/docs/; astroquery.mast reads the same JSON: ``info`` names the
columns, ``data`` holds the rows as lists.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from requests import Session

from lightloom.errors import ArchiveSchemaError
from lightloom.services.json_replies import json_reply, rows_of

#: No table of a few targets has more.
_MOST_PAGES = 1000


def query_catalog(
    session: Session,
    url: str,
    params: Mapping[str, Any],
    schema: pa.Schema,
    *,
    page_rows: int,
) -> pa.Table:
    """Return the rows of a table that fulfil some conditions, from all pages.

    Parameters
    ----------
    session : requests.Session
    url : str
        Of the table, without a format, such as ``.../hsc/v3/hcv``.
    params : mapping
        The conditions.
    schema : pyarrow.Schema
        The columns wanted and their types.
    page_rows : int
        Rows to ask for at a time.

    Raises
    ------
    ArchiveSchemaError
        If a column is missing, or holds a value that is not of its type.
    """
    tables = []
    for page in range(1, _MOST_PAGES + 1):
        reply = json_reply(
            session.get(f"{url}.json", params={**params, "pagesize": page_rows, "page": page}),
            ("info", "data"),
        )
        tables.append(_table(url, reply, schema))
        # A page that is not full is the last one.
        if len(reply["data"]) < page_rows:
            return pa.concat_tables(tables)
    raise ArchiveSchemaError(f"{url}: found {_MOST_PAGES} full pages, expected an end")


def _table(url: str, reply: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    found = [column.get("name") for column in rows_of(reply, "info", dict, url)]
    rows = rows_of(reply, "data", list, url)
    missing = [name for name in schema.names if name not in found]
    if missing:
        raise ArchiveSchemaError(f"{url}: columns {missing} are missing, found {found}")
    columns = {}
    for field in schema:
        index = found.index(field.name)
        try:
            values = [row[index] for row in rows]
            columns[field.name] = pa.array(values, field.type)
        except (IndexError, OverflowError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ArchiveSchemaError(
                f"{url}: column {field.name!r}, expected {field.type}: {error!r}"
            ) from error
    return pa.table(columns, schema=schema)
