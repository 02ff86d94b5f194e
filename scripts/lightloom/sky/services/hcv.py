"""Hubble Catalog of Variables of the embedded sky: summaries of the variables and their magnitudes.

The tables have the columns that MAST's interface of the Hubble Source Catalog, version 3, returns.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.services.brightness import magnitudes
from lightloom.sky.services.tables import to_table
from lightloom.sky.streams import random_stream

SUMMARY = pa.schema(
    [
        described_field("MatchID", pa.int64(), "matched source", ucd="meta.id;meta.main"),
        described_field("GroupID", pa.int64(), "group of images", ucd="meta.id"),
        described_field("SubGroupID", pa.int64(), "part of the group", ucd="meta.id"),
        described_field("RA", pa.float64(), "right ascension", "deg", ucd="pos.eq.ra"),
        described_field("Dec", pa.float64(), "declination", "deg", ucd="pos.eq.dec"),
        described_field("AutoClass", pa.int32(), "class by algorithm", ucd="meta.code.class"),
        described_field("ExpertClass", pa.int32(), "class by experts", ucd="meta.code.class"),
        described_field("NumFilters", pa.int32(), "filters", ucd="meta.number"),
        described_field("Filter", pa.string(), "instrument and filter", ucd="instr.bandpass"),
        described_field("FilterDetFlag", pa.int32(), "1 if variable here", ucd="meta.code"),
        described_field("VarQualFlag", pa.string(), "quality, five letters", ucd="meta.code.qual"),
        described_field("NumLC", pa.int32(), "epochs", ucd="meta.number"),
        described_field("MeanMag", pa.float64(), "mean magnitude", "mag", ucd="phot.mag;stat.mean"),
        described_field(
            "MeanCorrMag", pa.float64(), "mean corrected magnitude", "mag", ucd="phot.mag;stat.mean"
        ),
        described_field("MAD", pa.float64(), "median deviation", "mag", ucd="stat.variance"),
        described_field("Chi2", pa.float64(), "reduced chi squared", ucd="stat.fit.chi2"),
    ]
)
DETAILS = pa.schema(
    [
        described_field("MatchID", pa.int64(), "matched source", ucd="meta.id"),
        described_field("Filter", pa.string(), "instrument and filter", ucd="instr.bandpass"),
        described_field("MJD", pa.float64(), "time (UTC)", "d", ucd="time.epoch"),
        described_field("ImageName", pa.string(), "image", ucd="meta.id;obs.image"),
        described_field("Mag", pa.float64(), "aperture magnitude, AB", "mag", ucd="phot.mag"),
        described_field(
            "CorrMag", pa.float64(), "the same, corrected for the image", "mag", ucd="phot.mag"
        ),
        described_field("MagErr", pa.float64(), "its error", "mag", ucd="stat.error;phot.mag"),
        described_field("CI", pa.float64(), "concentration index", ucd="phot"),
        described_field("D", pa.float64(), "distance from the source", "arcsec", ucd="pos"),
    ]
)

#: Magnitude of a measurement without one.
MISSING_MAG = 99.0

# Filter: the band in which sources are like, and how much fainter. [mag]
_COLOURS = {
    "ACS_F606W": ("r", 0.0),
    "ACS_F814W": ("i", 0.0),
    "WFC3_F160W": ("i", 0.0),
    "WFPC2_F814W": ("i", 0.0),
}
_FILTERS_OF_SOURCE = (1, 4)
_EPOCHS = (5, 25)
_SURVEY_MJD = (54_600.0, 57_900.0)
_MISSING_SHARE = 0.04


def observe(sources: pd.DataFrame, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return the tables for some sources.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.

    Returns
    -------
    summary, details : pyarrow.Table
        In the schemas `SUMMARY`, a row per source and filter, and `DETAILS`.
    """
    sources = sources[sources["in_hcv"]].reset_index(drop=True)
    rng = random_stream(seed, "hcv objects")
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy(),
        sources["dec_deg"].to_numpy(),
        0.2 * sources["scatter_arcsec"].to_numpy(),
        rng,
    )
    cells = healpix_cells(ra_deg, dec_deg, 29)
    objects = pd.DataFrame(
        {
            "source": np.arange(len(sources)),
            # Sorted by place, so that identifiers tell nothing of the order of the sources.
            "MatchID": 1_000_003 + 977 * np.argsort(np.argsort(cells)),
            "GroupID": 1_030_000 + healpix_cells(ra_deg, dec_deg, 5),
            "SubGroupID": -5,
            "RA": ra_deg,
            "Dec": dec_deg,
            "AutoClass": rng.choice([1, 2], len(sources)),
            "ExpertClass": rng.choice([0, 1, 2, 4], len(sources)),
        }
    )
    details = _details(objects, sources, seed)
    summary = _summary(objects, details, seed)
    return (
        to_table(summary.sort_values(["MatchID", "Filter"]), SUMMARY),
        to_table(details.sort_values(["MatchID", "Filter", "MJD"]), DETAILS),
    )


def _details(objects: pd.DataFrame, sources: pd.DataFrame, seed: int) -> pd.DataFrame:
    rows = []
    for number, match_id in zip(objects["source"], objects["MatchID"], strict=True):
        rng = random_stream(seed, "hcv epochs", sources["name"][number])
        n_filters = rng.integers(*_FILTERS_OF_SOURCE)
        for name in rng.choice(list(_COLOURS), n_filters, replace=False):
            mjd = np.round(np.sort(rng.uniform(*_SURVEY_MJD, rng.integers(*_EPOCHS))), 6)
            rows.append(
                pd.DataFrame(
                    {"source": number, "MatchID": match_id, "Filter": str(name), "MJD": mjd}
                )
            )
    details = pd.concat(rows, ignore_index=True)
    rng = random_stream(seed, "hcv photometry")
    n_rows, source = len(details), details["source"].to_numpy()
    mag = magnitudes(sources, source, details["Filter"], details["MJD"], _COLOURS, seed)
    error = rng.uniform(0.005, 0.03, n_rows)
    measured = mag + error * rng.normal(size=n_rows)
    is_missing = rng.random(n_rows) < _MISSING_SHARE
    image = [
        f"hst_{group}_{name.lower()}_{number:04d}"
        for group, name, number in zip(
            objects["GroupID"].to_numpy()[source],
            details["Filter"],
            details.groupby(["source", "Filter"]).cumcount(),
            strict=True,
        )
    ]
    # An archive's text has six decimals.
    columns = {
        "Mag": np.where(is_missing, MISSING_MAG, measured + rng.normal(0.0, 0.01, n_rows)),
        "CorrMag": np.where(is_missing, MISSING_MAG, measured),
        "MagErr": np.where(is_missing, MISSING_MAG, error),
        "CI": rng.normal(1.0, 0.2, n_rows),
        "D": rng.uniform(0.0, 20.0, n_rows) / 1000.0,
    }
    return details.assign(
        ImageName=image, **{name: np.round(values, 6) for name, values in columns.items()}
    )


def _summary(objects: pd.DataFrame, details: pd.DataFrame, seed: int) -> pd.DataFrame:
    measured = details[details["CorrMag"] != MISSING_MAG]
    grouped = measured.groupby(["source", "Filter"])
    summary = grouped.agg(
        NumLC=("MJD", "size"), MeanMag=("Mag", "mean"), MeanCorrMag=("CorrMag", "mean")
    ).round(6)
    deviation = (measured["CorrMag"] - grouped["CorrMag"].transform("median")).abs()
    keys = [measured["source"], measured["Filter"]]
    summary["MAD"] = deviation.groupby(keys).median().round(6)
    pull = (measured["CorrMag"] - grouped["CorrMag"].transform("mean")) / measured["MagErr"]
    summary["Chi2"] = (pull**2).groupby(keys).mean().round(6)
    summary = summary.reset_index().merge(objects, on="source")
    rng = random_stream(seed, "hcv summary")
    return summary.assign(
        NumFilters=summary.groupby("source")["Filter"].transform("size"),
        FilterDetFlag=rng.choice([0, 1], len(summary), p=[0.2, 0.8]),
        VarQualFlag=rng.choice(["AAAAA", "AAAAB", "AABAC", "CAAAC"], len(summary)),
    )
