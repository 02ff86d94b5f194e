"""NEOWISE-R single exposures (Mainzer et al. 2014; IRSA, Parquet by HEALPix, a root per year).

One row per detection in an exposure, with both bands. A magnitude without an error is the limit of
a band in which nothing was measured; no magnitude at all is no measurement.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lightloom.archives.catalog import CatalogArchive


class NEOWISE(CatalogArchive):
    """Detections and limits in two bands, side by side."""

    def to_rows(self, found: pa.Table, shard: pa.Table) -> pa.Table:
        rows = super().to_rows(found, shard)
        is_limit = pc.and_(rows["native_value"].is_valid(), rows["native_err"].is_null())
        kind = pc.if_else(is_limit, "limit", rows["kind"])
        return rows.set_column(rows.column_names.index("kind"), "kind", kind)


ARCHIVE = NEOWISE
