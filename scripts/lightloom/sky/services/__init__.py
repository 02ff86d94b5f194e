"""Archives of the embedded sky that are services: the tables and files that their servers hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hats.pixel_math import HealpixPixel

from lightloom.sky.places import SERVICE_RADIUS_ARCSEC
from lightloom.sky.services import hcv, heasarc, light_curves, mast, nsc, registries, rubin
from lightloom.sky.services.light_curve_files import write_light_curve
from lightloom.sky.services.light_curves import LightCurve
from lightloom.sky.services.missions import MISSIONS
from lightloom.sky.targets import Target
from lightloom.sky.truth.matching import Catalogue, Footprint

__all__ = ["write_registries", "write_services"]

Edit = Callable[[str, tuple[pa.Table, ...]], tuple[pa.Table, ...]]

_EVENTS = {"fermigbm": "fermigtrig", "icecube": "icecubepsc", "saxgrbm": "saxgrbmgrb"}


def write_services(
    output: Path, sources: pd.DataFrame, seed: int, edit: Edit
) -> dict[str, Catalogue]:
    """Write the tables and files of all services.

    Parameters
    ----------
    output : pathlib.Path
        The folder to write, with a folder for each server.
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.
    edit : callable
        Returns the tables of an archive as a release has them.

    Returns
    -------
    dict of str to Catalogue
        What each archive holds, for `lightloom.sky.truth.compute_truth`.
    """
    return (
        _write_heasarc(output / "heasarc", sources, seed, edit)
        | {
            "hcv": _write_hcv(output / "hcv", sources, seed),
            "nsc": _write_nsc(output / "nsc", edit("nsc", nsc.observe(sources, seed))),
            "rubin": _write_rubin(output / "rubin", sources, seed),
        }
        | _write_mast(output / "mast", sources, seed)
    )


def write_registries(output: Path, targets: Sequence[Target], seed: int) -> None:
    """Write the tables of the services that list targets.

    Parameters
    ----------
    output : pathlib.Path
        The folder to write, with a folder for each server.
    targets : sequence of Target
        Those that they know.
    seed : int
        Seed of the sky.
    """
    # A target may be written with 360 deg, as no service writes it.
    targets = [replace(target, ra_deg=target.ra_deg % 360.0) for target in targets]
    _write_tables(output / "ned", {"objects": registries.ned_objects(targets)})
    _write_tables(output / "simbad", registries.simbad_tables(targets))
    _write_tables(output / "sesame", {"names": registries.sesame_names(targets)})
    _write_tables(output / "sdss", {"SpecObj": registries.spectra(targets, seed)})
    _write_tables(output / "alerce", {"objects": registries.ztf_objects(targets)})
    tables = registries.vizier_tables(targets)
    _write_tables(
        output / "vizier", {name.replace("/", "_"): table for name, table in tables.items()}
    )


def _write_tables(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")


def _write_heasarc(
    folder: Path, sources: pd.DataFrame, seed: int, edit: Edit
) -> dict[str, Catalogue]:
    (detections,) = edit("xmm", (heasarc.observe_xmm(sources, seed),))
    events = heasarc.observe_events(seed)
    _write_tables(folder, events | {"xmmssc": detections})
    catalogues = {archive: Catalogue([events[table]], np.nan) for archive, table in _EVENTS.items()}
    return catalogues | {"xmm": Catalogue([detections], SERVICE_RADIUS_ARCSEC["xmm"])}


def _write_hcv(folder: Path, sources: pd.DataFrame, seed: int) -> Catalogue:
    summary, details = hcv.observe(sources, seed)
    _write_tables(folder, {"hcvsummary": summary, "hcv": details})
    return Catalogue([summary, details], SERVICE_RADIUS_ARCSEC["hcv"])


def _write_nsc(folder: Path, tables: tuple[pa.Table, ...]) -> Catalogue:
    names = ("nsc_dr2.object", "nsc_dr2.meas", "nsc_dr2.exposure")
    _write_tables(folder, dict(zip(names, tables, strict=True)))
    return Catalogue(tables, SERVICE_RADIUS_ARCSEC["nsc"])


def _write_rubin(folder: Path, sources: pd.DataFrame, seed: int) -> Catalogue:
    tables = rubin.observe(sources, seed)
    names = ("dp1.Object", "dp1.ForcedSource", "dp1.Visit")
    _write_tables(folder, dict(zip(names, tables, strict=True)))
    (folder / "footprint.txt").write_text(rubin.FOOTPRINT_MOC, encoding="ascii")
    radius_arcsec = SERVICE_RADIUS_ARCSEC["rubin"]
    fields = [HealpixPixel(rubin.FIELD_ORDER, field) for field in rubin.FIELDS]
    return Catalogue(tables, radius_arcsec, Footprint(fields, radius_arcsec))


def _write_mast(folder: Path, sources: pd.DataFrame, seed: int) -> dict[str, Catalogue]:
    stored = mast.store(light_curves.observe(sources, seed), seed)
    for one in stored:
        write_light_curve(folder / one.path, one.curve)
    sizes = [(folder / one.path).stat().st_size for one in stored]
    observations, products = mast.portal_tables(stored, sizes)
    _write_tables(folder, {"observations": observations, "products": products})
    curves = [one.curve for one in stored]
    return {
        mission.archive: Catalogue(
            _light_curve_tables([curve for curve in curves if curve.mission is mission]),
            SERVICE_RADIUS_ARCSEC[mission.archive],
        )
        for mission in MISSIONS
    }


def _light_curve_tables(curves: Sequence[LightCurve]) -> tuple[pa.Table, pa.Table]:
    """Return light curves as a table of products and one of all their cadences."""
    products = pa.Table.from_pylist(
        [
            {
                "product": number,
                "mission": curve.mission.name,
                "author": curve.author,
                "cadence_s": curve.cadence_s,
                "true_cadence_s": curve.true_cadence_s,
                "target_name": curve.target_name,
                "sequence": curve.sequence,
                "ra": curve.ra_deg,
                "dec": curve.dec_deg,
                "zero_jd_day": curve.zero_jd[0],
                "zero_jd_fraction": curve.zero_jd[1],
                "unit": "relative" if curve.unit is None else "electron/s",
            }
            for number, curve in enumerate(curves)
        ]
    )
    return products, pa.concat_tables(
        [_cadences(number, curve) for number, curve in enumerate(curves)]
    )


def _cadences(number: int, curve: LightCurve) -> pa.Table:
    """Return the cadences of a light curve under names that all pipelines share."""
    columns = curve.columns
    n_rows = len(columns["TIME"])
    nothing = np.full(n_rows, np.nan)
    values = {"time": columns["TIME"]}
    for name, column in zip(("sap", "pdcsap"), curve.flux_columns, strict=True):
        values[f"{name}_flux"] = columns[column]
        values[f"{name}_flux_err"] = columns.get(f"{column}_ERR", nothing)
    doubles = {name: np.asarray(value, np.float64) for name, value in values.items()}
    return pa.table(
        {
            "product": np.full(n_rows, number),
            "flags": columns[curve.quality_column].astype(np.int64),
        }
        | doubles
    )
