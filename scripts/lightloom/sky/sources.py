"""The sources of the embedded sky: where they are, how bright they are and how they vary."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from lightloom.sky.streams import random_stream

CONSTANT, AGN, RR_LYRAE = "constant", "agn", "rr_lyrae"

#: No limit to the epochs of a ZTF light curve.
ALL_EPOCHS = 100_000

#: Damped random walks are drawn once per day over this interval, which holds both surveys [MJD].
_WALK_START_MJD, _WALK_STOP_MJD = 54_500.0, 60_700.0

# Variability amplitude falls with wavelength, and the dust that WISE sees answers late and smoothed
# (Vanden Berk et al. 2004, ApJ 601, 692; Lyu et al. 2019, ApJ 886, 33): rough values.
_AGN_AMPLITUDE = {"g": 1.2, "r": 1.0, "i": 0.85, "W1": 0.7, "W2": 0.65}
_RR_LYRAE_AMPLITUDE = {"g": 1.0, "r": 0.75, "i": 0.6, "W1": 0.3, "W2": 0.3}
_DUST_SMOOTHING_D = 120

# Shares of the nuclei that the archives with few targets have looked at.
_AGN_SHARES = {"hcv": 0.35, "xmm": 0.6, "tess": 0.6, "kepler": 0.25, "k2": 0.35}

#: Background stars of a place that NEOWISE sees.
_NEOWISE_STARS = 4


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source.

    Attributes
    ----------
    name : str
        Name within the embedded sky; the random numbers of the source hang on it.
    ra_deg, dec_deg : float
        Position, ICRS.
    kind : str
        `AGN`, `RR_LYRAE` or `CONSTANT`.
    g_mag, r_mag, i_mag : float
        Mean AB magnitudes.
    w1_mag, w2_mag : float
        Mean Vega magnitudes.
    in_ztf, in_unwise, in_gaia, in_panstarrs, in_neowise : bool
        Whether the survey sees it, if it looks there.
    in_nsc, in_rubin, in_hcv, in_xmm, in_tess, in_kepler, in_k2 : bool
        The same for the archives that are services.
    scatter_arcsec : float
        1-sigma scatter of its catalogued positions along each axis.
    ztf_max_epochs : int
        Most epochs of a ZTF light curve.
    ztf_all_flagged : bool
        Whether every ZTF epoch carries the flag for clouds or moon.
    ztf_empty_filterid : int
        ZTF filter in which the light curve is empty, 0 for none.
    gaia_max_transits : int
        Most transits of a Gaia light curve.
    panstarrs_max_detections : int
        Most Pan-STARRS detections in one filter.
    panstarrs_scatter_arcsec : float
        1-sigma scatter of Pan-STARRS detections along each axis.
    neowise_max_exposures : int
        Most NEOWISE exposures of a visit.
    nsc_parity : int
        0 or 1 if NSC measured it only on every second exposure, beginning with the first or the
        second; else -1.
    rubin_is_primary : bool
        Whether its Rubin object is the primary one.
    mast_odd_zero : bool
        Whether times in its light curves count from another zero than is usual.
    """

    name: str
    ra_deg: float
    dec_deg: float
    kind: str = CONSTANT
    g_mag: float = 18.6
    r_mag: float = 18.2
    i_mag: float = 18.0
    w1_mag: float = 15.0
    w2_mag: float = 14.6
    in_ztf: bool = True
    in_unwise: bool = True
    in_gaia: bool = True
    in_panstarrs: bool = True
    in_neowise: bool = True
    in_nsc: bool = True
    in_rubin: bool = True
    in_hcv: bool = False
    in_xmm: bool = False
    in_tess: bool = False
    in_kepler: bool = False
    in_k2: bool = False
    scatter_arcsec: float = 0.05
    ztf_max_epochs: int = ALL_EPOCHS
    ztf_all_flagged: bool = False
    ztf_empty_filterid: int = 0
    gaia_max_transits: int = ALL_EPOCHS
    panstarrs_max_detections: int = ALL_EPOCHS
    panstarrs_scatter_arcsec: float = 0.08
    neowise_max_exposures: int = ALL_EPOCHS
    nsc_parity: int = -1
    rubin_is_primary: bool = True
    mast_odd_zero: bool = False


def source_table(sources: Iterable[Source]) -> pd.DataFrame:
    """Return sources as a table with the attributes of `Source` as columns."""
    return pd.DataFrame([asdict(source) for source in sources])


def star_table(
    prefix: str,
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    in_unwise: bool,
) -> pd.DataFrame:
    """Return constant background stars of random brightness, with few epochs each.

    The surveys with many epochs per star see only some of them.

    Parameters
    ----------
    prefix : str
        Start of their names.
    ra_deg, dec_deg : ndarray of shape (n_stars,)
        Positions, ICRS.
    rng : numpy.random.Generator
        Source of the magnitudes.
    in_unwise : bool
        Whether unWISE sees them.

    Returns
    -------
    pandas.DataFrame
        The columns of `source_table`.
    """
    n_stars = len(ra_deg)
    number = np.arange(n_stars)
    # Counts rise towards the faint end, as star counts do.
    r_mag = 20.8 - 5.5 * rng.random(n_stars) ** 2
    g_mag = r_mag + rng.uniform(0.2, 1.2, n_stars)
    w1_mag = r_mag - rng.uniform(1.5, 3.0, n_stars)
    template = asdict(Source(name=prefix, ra_deg=0.0, dec_deg=0.0))
    return pd.DataFrame(
        template
        | {
            "name": [f"{prefix}-{index}" for index in range(n_stars)],
            "ra_deg": ra_deg,
            "dec_deg": dec_deg,
            "g_mag": g_mag,
            "r_mag": r_mag,
            "i_mag": r_mag - rng.uniform(0.1, 0.5, n_stars),
            "w1_mag": w1_mag,
            "w2_mag": w1_mag - rng.uniform(-0.1, 0.2, n_stars),
            "in_unwise": in_unwise,
            "ztf_max_epochs": rng.integers(4, 13, n_stars),
            "in_gaia": number % 3 == 0,
            "in_panstarrs": number % 4 == 0,
            "in_neowise": in_unwise & (number < _NEOWISE_STARS),
            "in_nsc": in_unwise & (number % 5 == 0),
            "in_rubin": in_unwise & (number % 2 == 0),
            "gaia_max_transits": 6,
            "panstarrs_max_detections": 2,
            "neowise_max_exposures": 1,
        }
    )


def agn(name: str, ra_deg: float, dec_deg: float, seed: int) -> Source:
    """Return an active galactic nucleus of random brightness and colour."""
    rng = random_stream(seed, "agn", name)
    r_mag = rng.uniform(16.5, 19.6)
    w1_mag = r_mag - rng.uniform(2.8, 3.8)
    is_seen = random_stream(seed, "observed agn", name).random(len(_AGN_SHARES))
    looked_at = {
        f"in_{archive}": bool(draw < share)
        for draw, (archive, share) in zip(is_seen, _AGN_SHARES.items(), strict=True)
    }
    return Source(
        name=name,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        kind=AGN,
        g_mag=r_mag + rng.uniform(0.1, 0.6),
        r_mag=r_mag,
        i_mag=r_mag - rng.uniform(0.1, 0.4),
        w1_mag=w1_mag,
        w2_mag=w1_mag - rng.uniform(0.6, 1.1),
        **looked_at,
    )


class Variability:
    """How the brightness of one source changes with time, in all bands together.

    Parameters
    ----------
    kind : str
        Kind of the source, as in `Source`.
    name : str
        Name of the source.
    seed : int
        Seed of the sky.
    """

    def __init__(self, kind: str, name: str, seed: int) -> None:
        self._kind = kind
        rng = random_stream(seed, "variability", name)
        if kind == AGN:
            self._days = np.arange(_WALK_START_MJD, _WALK_STOP_MJD)
            self._walk_mag = _damped_random_walk(
                self._days.size,
                tau_d=rng.uniform(150.0, 600.0),
                sigma_mag=rng.uniform(0.1, 0.3),
                rng=rng,
            )
            kernel = np.ones(_DUST_SMOOTHING_D) / _DUST_SMOOTHING_D
            self._smooth_walk_mag = lfilter(kernel, [1.0], self._walk_mag)
            self._lag_d = {"W1": rng.uniform(50.0, 200.0), "W2": rng.uniform(80.0, 250.0)}
        elif kind == RR_LYRAE:
            self._period_d = rng.uniform(0.45, 0.75)
            self._phase = rng.random()

    def delta_mag(self, time_mjd: NDArray[np.float64], band: str) -> NDArray[np.float64]:
        """Return the difference from the mean magnitude.

        Parameters
        ----------
        time_mjd : ndarray of shape (n_epochs,)
            Times between MJD 54500 and 60700.
        band : str
            ``g``, ``r``, ``i``, ``W1`` or ``W2``.

        Returns
        -------
        ndarray of shape (n_epochs,)
            Magnitudes; negative when the source is brighter.
        """
        if self._kind == AGN:
            walk_mag = self._smooth_walk_mag if band in self._lag_d else self._walk_mag
            emitted_mjd = time_mjd - self._lag_d.get(band, 0.0)
            return _AGN_AMPLITUDE[band] * np.interp(emitted_mjd, self._days, walk_mag)
        if self._kind == RR_LYRAE:
            phase = (time_mjd / self._period_d + self._phase) % 1.0
            # A fast rise in 15 % of the period, a slow decline in the rest.
            sawtooth = np.where(phase < 0.15, 0.5 - phase / 0.15, (phase - 0.15) / 0.85 - 0.5)
            return _RR_LYRAE_AMPLITUDE[band] * sawtooth
        return np.zeros_like(time_mjd)


def _damped_random_walk(
    n_days: int, *, tau_d: float, sigma_mag: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return a damped random walk sampled once a day (Kelly et al. 2009, ApJ 698, 895)."""
    memory = np.exp(-1.0 / tau_d)
    shocks = rng.normal(0.0, sigma_mag * np.sqrt(1.0 - memory**2), n_days)
    shocks[0] = rng.normal(0.0, sigma_mag)
    return lfilter([1.0], [1.0, -memory], shocks)


def variation_mag(
    sources: pd.DataFrame,
    source: NDArray[np.int64],
    band: NDArray[np.str_],
    time_mjd: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float64]:
    """Return how far the sources are from their mean magnitudes when they are observed.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `source_table` gives them.
    source : ndarray of shape (n_observations,)
        Row of the source of each observation.
    band : ndarray of shape (n_observations,)
        Its band; see `Variability.delta_mag`.
    time_mjd : ndarray of shape (n_observations,)
        Its time.
    seed : int
        Seed of the sky.

    Returns
    -------
    ndarray of shape (n_observations,)
    """
    variation = np.zeros(len(source))
    kinds, names = sources["kind"].tolist(), sources["name"].tolist()
    is_variable = np.array(kinds) != CONSTANT
    observed = np.flatnonzero(is_variable[source])
    for number in np.unique(source[observed]):
        variability = Variability(kinds[number], names[number], seed)
        rows = observed[source[observed] == number]
        for name in np.unique(band[rows]):
            part = rows[band[rows] == name]
            variation[part] = variability.delta_mag(time_mjd[part], str(name))
    return variation
