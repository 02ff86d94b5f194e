"""Random numbers that depend on the seed and on what they are for, not on what else was drawn."""

import zlib

import numpy as np


def random_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the random generator of one purpose.

    Parameters
    ----------
    seed : int
        Seed of the whole sky, not negative.
    *purpose : str or int
        What the numbers are for, such as ``"agn", "NGC 4151"``.

    Returns
    -------
    numpy.random.Generator
    """
    words = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in purpose]
    return np.random.default_rng([seed, *words])
