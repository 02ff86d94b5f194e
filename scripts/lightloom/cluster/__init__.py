"""Dask clusters: a job's own and those elsewhere, their workers, and how requests are spread."""
