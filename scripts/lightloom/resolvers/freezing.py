"""Writing what a service has listed: a table, and a record of whence and when it came."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from lightloom.resolvers.listing import Listing
from lightloom.sample.queries import Query
from lightloom.storage import atomic_path, sha256_bytes, write_json


def freeze(query: Query, listing: Listing, file: Path) -> None:
    """Freeze an answer.

    Parameters
    ----------
    query : Query
        What was asked.
    listing : Listing
        The answer.
    file : pathlib.Path
        The CSV file to write; the record has the same name and the suffix ``.json``.
    """
    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(listing.table, buffer)
    content = buffer.getvalue().to_pybytes()
    with atomic_path(file) as temporary:
        temporary.write_bytes(content)
    # The record comes last: without it, the table counts for nothing.
    write_json(
        file.with_suffix(".json"),
        {
            "query": query.asked,
            "services": list(query.resolvers),
            "retrieved": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": sha256_bytes(content),
            "rows": listing.table.num_rows,
            "columns": listing.table.column_names,
            "unresolved": [[one.row, one.entry] for one in listing.unresolved],
            "remarks": list(listing.remarks),
        },
    )
