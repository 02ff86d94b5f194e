"""Samples: tables of targets, read, checked, and merged into one list of distinct targets.

Imported whenever the Snakefile is read, so nothing is imported here.
"""
