"""The sample: `<results>/sample/sample.parquet`, the targets, and what became of every row of its tables.

merged.csv        rows that are one target with another row
rejected.csv      rows that were set aside (`on_bad_row: skip`)
source_rows.parquet     the rows of the tables that each target comes from
extra_columns.parquet   the further columns of these rows

They are written when the workflow starts, with the shards.
"""
