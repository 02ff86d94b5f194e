"""How bright sources are in the bands of the services."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightloom.sky.sources import variation_mag

_OPTICAL = ("g", "r", "i")


def magnitudes(
    sources: pd.DataFrame,
    source: NDArray[np.int64],
    band: pd.Series,
    time_mjd: pd.Series,
    colours: Mapping[str, tuple[str, float]],
    seed: int,
) -> NDArray[np.float64]:
    """Return the AB magnitudes of sources when they are observed.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    source : ndarray of shape (n_observations,)
        Row of the source of each observation.
    band : pandas.Series of shape (n_observations,)
        Its band.
    time_mjd : pandas.Series of shape (n_observations,)
        Its time.
    colours : mapping of str to tuple
        By band: the one of g, r and i that it is like, and by how much it is fainter than that.
    seed : int
        Seed of the sky.

    Returns
    -------
    ndarray of shape (n_observations,)
    """
    like = band.map({name: optical for name, (optical, _) in colours.items()})
    column = like.map({name: number for number, name in enumerate(_OPTICAL)}).to_numpy()
    mean_mag = sources[[f"{name}_mag" for name in _OPTICAL]].to_numpy()[source, column]
    fainter_mag = band.map({name: fainter for name, (_, fainter) in colours.items()}).to_numpy()
    return (
        mean_mag
        + fainter_mag
        + variation_mag(sources, source, like.to_numpy(np.str_), time_mjd.to_numpy(), seed)
    )
