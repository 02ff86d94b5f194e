"""Reading sparse samples of sources out of huge Parquet catalogues.

A catalogue is a folder of Parquet files partitioned by HEALPix pixel, on disk or in an object store
(`layouts`). A search is planned from positions alone (`planning`) and done partition by partition
(`search`): positions first, exact match on the sphere (`geometry`), then the columns asked for, of
the matched sources only, by the reader that suits the file (`pages`, `row_groups`).
"""
