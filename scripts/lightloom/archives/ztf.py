"""Zwicky Transient Facility light curves (IRSA, HATS).

A source has an object for every field, readout channel and filter in which it was observed; all of
them are kept. Times are heliocentric. The colour term ``clrcoeff`` is kept but not applied: it
needs the source's colour.
"""

from lightloom.archives.catalog import CatalogArchive


class ZTF(CatalogArchive):
    """One row per object in the catalogue, its epochs in nested lists."""


ARCHIVE = ZTF
