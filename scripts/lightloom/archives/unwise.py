"""unWISE time-domain catalogue, "unTimely" (Meisner et al. 2023; IRSA, Parquet by HEALPix).

One row per detection in a coadd of about a dozen exposures, a visit every six months. Overlapping
coadds detect a source twice at one visit; ``primary`` marks the detection to use.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lightloom.archives.catalog import CatalogArchive


class UnWISE(CatalogArchive):
    """One row per detection, positions and fluxes side by side."""

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        primary = pc.match_substring_regex(rows["native_columns"], '"primary":1[,}]')
        return super().competing_sources(rows.filter(primary))


ARCHIVE = UnWISE
