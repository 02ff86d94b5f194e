"""Quasars with a spectrum of the SDSS, page by page from SkyServer."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from astroquery.sdss import SDSS
from numpy.typing import NDArray

from lightloom.config_sources import QuasarSource, ResolverSpec
from lightloom.errors import ArchiveSchemaError, BadRequestError, SampleError, TransientArchiveError
from lightloom.resolvers.listing import NAME, Listing
from lightloom.services.http import ServiceSession, service_session
from lightloom.services.retries import retrying

#: Behind the address of SkyServer, as astroquery asks it for data releases from 11 on.
_SEARCH = "/dr{release}/en/tools/search/x_results.aspx"

_TYPES = {"specObjID": pa.string(), "ra": pa.float64(), "dec": pa.float64(), "z": pa.float64()}


def list_quasars(source: QuasarSource, spec: ResolverSpec, state: Path) -> Listing:
    """Choose quasars.

    All quasars of the range are listed in the order of their ids, and those are kept whose id has
    the smallest SHA-256 digest together with the seed: the choice depends on the ids alone.

    Parameters
    ----------
    source : QuasarSource
    spec : ResolverSpec
        SkyServer.
    state : pathlib.Path
        Folder shared by all that asks services.

    Returns
    -------
    Listing
        ``name`` (the ``specObjID``), ``ra``, ``dec`` and the redshift ``z``.

    Raises
    ------
    SampleError
        If there is none.
    ArchiveError
        If the service cannot be asked, or its pages do not hold what it counts.
    """
    condition = (
        "class = 'QSO' AND zWarning = 0"
        f" AND z >= {float(source.z_min)!r} AND z < {float(source.z_max)!r}"
    )
    retry = retrying(spec.limits)
    with service_session(spec, state) as session:
        ask = _Asking(session, f"{spec.endpoint}{_SEARCH.format(release=source.data_release)}")
        n_quasars = retry(ask.count, condition)
        pages = [pa.schema(_TYPES).empty_table()]
        last = "0"
        # A page may be cut at a limit of the service, so only an empty one is the end.
        while (page := retry(ask.page, condition, last, source)).num_rows:
            pages.append(page)
            last = page["specObjID"][-1].as_py()
    quasars = pa.concat_tables(pages)
    if quasars.num_rows != n_quasars:
        raise TransientArchiveError(
            f"SkyServer lists {quasars.num_rows} quasars and counts {n_quasars}, expected the same"
        )
    if not n_quasars:
        raise SampleError(f"found no quasar with {condition}, expected at least one")
    chosen = quasars.take(_chosen(quasars["specObjID"].to_pylist(), source))
    remarks = (
        (f"found {n_quasars} quasars, expected {source.number}",)
        if n_quasars < source.number
        else ()
    )
    return Listing(chosen.rename_columns([NAME, "ra", "dec", "z"]), remarks=remarks)


def _chosen(ids: Sequence[str], source: QuasarSource) -> NDArray[np.int64]:
    digests = [hashlib.sha256(f"{source.seed} {one}".encode()).digest() for one in ids]
    ranked = sorted(range(len(ids)), key=digests.__getitem__)
    return np.sort(np.array(ranked[: source.number], dtype=np.int64))


class _Asking:
    """SQL queries to SkyServer, and their replies in CSV."""

    def __init__(self, session: ServiceSession, url: str) -> None:
        self._session = session
        self._url = url

    def count(self, condition: str) -> int:
        """Return the number of quasars."""
        sql = f"SELECT COUNT(*) AS n FROM SpecObj WHERE {condition}"
        table = self._ask(sql, {"n": pa.int64()})
        if table.num_rows != 1:
            raise TransientArchiveError(f"{self._url}: found {table.num_rows} counts, expected one")
        return int(table["n"][0].as_py())

    def page(self, condition: str, last: str, source: QuasarSource) -> pa.Table:
        """Return the quasars behind the last one of the page before."""
        sql = (
            f"SELECT TOP {source.page_rows} specObjID, ra, dec, z FROM SpecObj WHERE {condition}"
            f" AND specObjID > {int(last)} ORDER BY specObjID"
        )
        return self._ask(sql, _TYPES)

    def _ask(self, sql: str, types: dict[str, pa.DataType]) -> pa.Table:
        payload = SDSS.query_sql_async(sql, data_release=99, get_query_payload=True)
        response = self._session.get(self._url, params=payload)
        text = response.text
        if "error_message" in text:
            raise BadRequestError(f"{self._url}: {text[:300]}")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        if not lines:
            raise TransientArchiveError(
                f"{self._url}: expected a table in CSV, found {text[:80]!r}"
            )
        options = pyarrow.csv.ConvertOptions(column_types=types)
        try:
            table = pyarrow.csv.read_csv(
                BytesIO("\n".join([*lines, ""]).encode()), convert_options=options
            )
        except pa.ArrowInvalid as error:
            raise TransientArchiveError(f"{self._url}: found no table in CSV: {error}") from error
        if set(table.column_names) != set(types):
            raise ArchiveSchemaError(
                f"{self._url}: found the columns {table.column_names}, expected {list(types)}"
            )
        return table.select(list(types))
