"""Reading sparse samples of sources out of huge Parquet catalogues.

A catalogue is a folder of Parquet files partitioned by HEALPix pixel, on disk or in an object store
(`layouts`, `storage`). A search is planned from positions alone (`planning`) and done partition by
partition (`search`, for objects with a table of detections `join`): positions first, exact match on
the sphere (`geometry`), then the columns asked for, of the matched sources only, by the reader that
suits the file. `pages` reads local files with a page index, `page_ranges` remote ones, and
`row_groups` all files without.
"""
