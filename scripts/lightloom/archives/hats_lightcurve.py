"""Any catalogue of light curves in Parquet files that its entry describes fully."""

from lightloom.archives.catalog import CatalogArchive

ARCHIVE = CatalogArchive
