"""Samples: tables of targets, read, checked, and merged into one list of distinct targets."""

from lightloom.sample.clean import sort_targets
from lightloom.sample.read import Sample, read_sample

__all__ = ["Sample", "read_sample", "sort_targets"]
