"""The embedded sky: small catalogues in the archives' own layouts, and what a search must find.

Of the archives that are services it has the tables and files that a server of them needs.
`lightloom.sky.build` writes it; `lightloom.sky.dense` writes large variants for benchmarks. Nothing
else of Lightloom uses this package: a run sees the catalogues as endpoints, like the archives.
"""
