"""Read the light curves of a run: one object or millions, whole or cut by a named view.

>>> from lightloom.read import read_lightcurves
>>> curves = read_lightcurves("results", objectids=["NGC 1068"], archives=["ztf"])  # doctest: +SKIP
>>> curves.to_pandas()  # doctest: +SKIP
"""

from lightloom.read.dataset import Dataset, Selection, read_lightcurves
from lightloom.read.lightcurves import LightCurves

__all__ = ["Dataset", "LightCurves", "Selection", "read_lightcurves"]
