"""Light curves of TESS, Kepler and K2 of the embedded sky."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.services.missions import MISSIONS, TESS, Mission
from lightloom.sky.sources import Variability
from lightloom.sky.streams import random_stream

#: BJDREFI and BJDREFF of a source whose files count from another zero than the mission's others.
ODD_ZERO_JD = (2_400_000, 0.5)

#: Columns of the two fluxes, as extracted and as corrected, where they are not the usual ones.
_FLUX_COLUMNS = {"QLP": ("SAP_FLUX", "KSPSAP_FLUX"), "TASOC": ("FLUX_RAW", "FLUX_CORR")}

_MOST_SEQUENCES = 3
_CADENCES = 240
# Offset of the modified Julian date, and of a gap in the middle of a light curve. [d]
_MJD_ZERO_JD, _GAP_D = 2_400_000.5, 1.5
_NO_TIME_SHARE, _NO_FLUX_SHARE, _NO_PDC_SHARE, _FLAGGED_SHARE = 0.01, 0.02, 0.02, 0.05
# Cadences as they really are, for those that MAST rounds. [s]
_TRUE_CADENCE_S = {("Kepler", 1800): 1765.46, ("Kepler", 60): 58.85, ("K2", 1800): 1765.46}


@dataclass(frozen=True)
class LightCurve:
    """A light curve as one pipeline publishes it.

    Attributes
    ----------
    mission : Mission
    author : str
        Pipeline, as MAST names it.
    target_id : int
        Number of the target in the mission's catalogue.
    sequence : int
        Sector, quarter or campaign.
    cadence_s : int
        Cadence, as MAST gives it.
    true_cadence_s : float
        Cadence, as the file gives it.
    ra_deg, dec_deg : float
        Position of the target, ICRS.
    mag : float
        Its magnitude in the mission's band.
    zero_jd : tuple of int and float
        BJDREFI and BJDREFF.
    columns : dict of str to ndarray
        By the names in the file; one value per cadence.
    """

    mission: Mission
    author: str
    target_id: int
    sequence: int
    cadence_s: int
    true_cadence_s: float
    ra_deg: float
    dec_deg: float
    mag: float
    zero_jd: tuple[int, float]
    columns: dict[str, NDArray[Any]]

    @property
    def flux_columns(self) -> tuple[str, str]:
        """Columns of the flux as extracted and as corrected."""
        return _FLUX_COLUMNS.get(self.author, ("SAP_FLUX", "PDCSAP_FLUX"))

    @property
    def quality_column(self) -> str:
        """Column of the flags."""
        is_official = self.flux_columns == ("SAP_FLUX", "PDCSAP_FLUX")
        return self.mission.quality_column if is_official else "QUALITY"

    @property
    def unit(self) -> str | None:
        """Unit of its fluxes as the file writes it."""
        return None if self.author == "QLP" else "e-/s"

    @property
    def target_name(self) -> str:
        """Name of the target, such as ``TIC 25155310``."""
        return f"{self.mission.id_prefix} {self.target_id}"


def observe(sources: pd.DataFrame, seed: int) -> list[LightCurve]:
    """Return all light curves of some sources.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.

    Returns
    -------
    list of LightCurve
        By mission, target, sequence, author and cadence.
    """
    return [one for mission in MISSIONS for one in _of_mission(mission, sources, seed)]


def _of_mission(mission: Mission, sources: pd.DataFrame, seed: int) -> Iterator[LightCurve]:
    sources = sources[sources[f"in_{mission.archive}"]].reset_index(drop=True)
    rng = random_stream(seed, "mast positions", mission.name)
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy(),
        sources["dec_deg"].to_numpy(),
        0.2 * sources["scatter_arcsec"].to_numpy(),
        rng,
    )
    order = np.argsort(healpix_cells(ra_deg, dec_deg, 29), kind="stable")
    for number, row in enumerate(order):
        source = sources.iloc[row]
        target_id = mission.first_id + number * mission.id_step
        for sequence, (author, cadence_s) in _products(mission, source["name"], seed):
            true_cadence_s = _TRUE_CADENCE_S.get((author, cadence_s), float(cadence_s))
            zero_jd = ODD_ZERO_JD if source["mast_odd_zero"] else (mission.zero_jd, 0.0)
            rng = random_stream(
                *(seed, "mast photometry", mission.name, source["name"]),
                *(sequence, author, cadence_s),
            )
            measured = _measure(mission, source, sequence, true_cadence_s, zero_jd, seed, rng)
            yield LightCurve(
                mission=mission,
                author=author,
                target_id=target_id,
                sequence=sequence,
                cadence_s=cadence_s,
                true_cadence_s=true_cadence_s,
                ra_deg=float(ra_deg[row]),
                dec_deg=float(dec_deg[row]),
                mag=round(float(source[f"{mission.band}_mag"]), 3),
                zero_jd=zero_jd,
                columns=_columns(mission, measured, author, rng),
            )


def _products(mission: Mission, name: str, seed: int) -> Iterator[tuple[int, tuple[str, int]]]:
    """Yield sequence, author and cadence of the light curves of a source."""
    rng = random_stream(seed, "mast products", mission.name, name)
    n_sequences = rng.integers(1, _MOST_SEQUENCES + 1)
    for sequence in np.sort(rng.choice(mission.last, n_sequences, replace=False)) + 1:
        for author_and_cadence in mission.sets[rng.integers(len(mission.sets))]:
            yield int(sequence), author_and_cadence


@dataclass(frozen=True)
class _Cadences:
    """What is measured, before a pipeline names it; arrays with a value per cadence."""

    time_d: NDArray[np.float64]
    number: NDArray[np.int32]
    sap: NDArray[np.float64]
    sap_err: NDArray[np.float64]
    pdcsap: NDArray[np.float64]
    pdcsap_err: NDArray[np.float64]
    flags: NDArray[np.int32]


def _measure(
    mission: Mission,
    source: pd.Series,
    sequence: int,
    cadence_s: float,
    zero_jd: tuple[int, float],
    seed: int,
    rng: np.random.Generator,
) -> _Cadences:
    cadence_d = cadence_s / 86400.0
    start_mjd = mission.first_mjd + (sequence - 1) * mission.interval_d
    number = np.arange(_CADENCES)
    time_mjd = start_mjd + (number + 0.5) * cadence_d + _GAP_D * (number >= _CADENCES // 2)
    variability = Variability(source["kind"], source["name"], seed)
    mag = source[f"{mission.band}_mag"] + variability.delta_mag(time_mjd, mission.band)
    flux = 10.0 ** (0.4 * (mission.zero_point_mag - mag))
    noise = np.sqrt((flux + 60.0) / cadence_s) + 0.0005 * flux
    sap = 0.9 * flux * (1.0 + 0.004 * np.sin(number / 40.0)) + noise * rng.normal(size=_CADENCES)
    pdcsap = flux + noise * rng.normal(size=_CADENCES)
    flags = rng.choice(mission.flags, _CADENCES) * (rng.random(_CADENCES) < _FLAGGED_SHARE)
    has_no_time = rng.random(_CADENCES) < _NO_TIME_SHARE
    has_no_flux = has_no_time | (rng.random(_CADENCES) < _NO_FLUX_SHARE)
    has_no_pdcsap = has_no_flux | (rng.random(_CADENCES) < _NO_PDC_SHARE)
    time_d = np.where(has_no_time, np.nan, time_mjd + _MJD_ZERO_JD - sum(zero_jd))
    sap, sap_err = (np.where(has_no_flux, np.nan, values) for values in (sap, noise))
    pdcsap, pdcsap_err = (np.where(has_no_pdcsap, np.nan, values) for values in (pdcsap, noise))
    if mission is TESS:
        # Files of TESS have a flux and an error of zero where there is no time.
        pdcsap, pdcsap_err = (np.where(has_no_time, 0.0, values) for values in (pdcsap, pdcsap_err))
    first = int(start_mjd / cadence_d) % 2_000_000
    return _Cadences(
        time_d,
        (first + number).astype(np.int32),
        sap,
        sap_err,
        pdcsap,
        pdcsap_err,
        flags.astype(np.int32),
    )


def _columns(
    mission: Mission, measured: _Cadences, author: str, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Return the columns of a pipeline's file."""
    if author == "QLP":
        return _qlp_columns(measured)
    if author == "TASOC":
        return _tasoc_columns(measured)
    centroid = rng.uniform(50.0, 2000.0, 2) + 0.01 * rng.normal(size=(_CADENCES, 2))
    return {
        "TIME": measured.time_d,
        "TIMECORR": np.full(_CADENCES, 0.002, np.float32),
        "CADENCENO": measured.number,
        "SAP_FLUX": measured.sap.astype(np.float32),
        "SAP_FLUX_ERR": measured.sap_err.astype(np.float32),
        "SAP_BKG": rng.normal(500.0, 3.0, _CADENCES).astype(np.float32),
        "SAP_BKG_ERR": np.full(_CADENCES, 0.7, np.float32),
        "PDCSAP_FLUX": measured.pdcsap.astype(np.float32),
        "PDCSAP_FLUX_ERR": measured.pdcsap_err.astype(np.float32),
        mission.quality_column: measured.flags,
        "MOM_CENTR1": centroid[:, 0],
        "MOM_CENTR2": centroid[:, 1],
        "POS_CORR1": rng.normal(0.0, 0.01, _CADENCES).astype(np.float32),
        "POS_CORR2": rng.normal(0.0, 0.01, _CADENCES).astype(np.float32),
    }


def _qlp_columns(measured: _Cadences) -> dict[str, NDArray[Any]]:
    """Return the columns of the Quick-Look Pipeline, whose fluxes are relative to their median."""
    median = np.nanmedian(measured.pdcsap)
    return {
        "TIME": measured.time_d,
        "CADENCENO": measured.number,
        "SAP_FLUX": measured.sap / np.nanmedian(measured.sap),
        "KSPSAP_FLUX": measured.pdcsap / median,
        "KSPSAP_FLUX_ERR": measured.pdcsap_err / median,
        "QUALITY": measured.flags,
        "ORBITID": np.full(_CADENCES, 35, np.int32),
        "SAP_X": np.full(_CADENCES, 1201.5),
        "SAP_Y": np.full(_CADENCES, 310.25),
        "SAP_BKG": np.full(_CADENCES, 12.5),
        "SAP_BKG_ERR": np.full(_CADENCES, 0.8),
    }


def _tasoc_columns(measured: _Cadences) -> dict[str, NDArray[Any]]:
    """Return the columns of the asteroseismologists, whose corrected fluxes are in ppm."""
    median = np.nanmedian(measured.pdcsap)
    return {
        "TIME": measured.time_d,
        "TIMECORR": np.full(_CADENCES, 0.002, np.float32),
        "CADENCENO": measured.number,
        "FLUX_RAW": measured.sap,
        "FLUX_RAW_ERR": measured.sap_err,
        "FLUX_CORR": 1e6 * (measured.pdcsap / median - 1.0),
        "FLUX_CORR_ERR": 1e6 * measured.pdcsap_err / median,
        "QUALITY": measured.flags,
    }
