"""Distances on the sky by chords, another way than that of the code under test."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def vectors(ra_deg: pd.Series, dec_deg: pd.Series) -> NDArray[np.float64]:
    ra, dec = (np.radians(values.to_numpy(np.float64)) for values in (ra_deg, dec_deg))
    return np.stack([np.cos(ra) * np.cos(dec), np.sin(ra) * np.cos(dec), np.sin(dec)], axis=1)


def distances_arcsec(
    target: pd.Series, vectors_of_rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    own = vectors(pd.Series([target["ra"]]), pd.Series([target["dec"]]))
    chord = np.linalg.norm(vectors_of_rows - own, axis=1)
    return np.degrees(2.0 * np.arcsin(chord / 2.0)) * 3600.0
