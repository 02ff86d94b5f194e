"""Searching nested light curves with LSDB: as is usual, and as its experts would."""

import lsdb
import numpy as np
import pandas as pd
from methods import RADIUS_ARCSEC, Found, Question, bare

from lightloom.config import ArchiveSpec

#: More objects than lie within the radius of any target.
_MANY_NEIGHBOURS = 12

_SUFFIXES = ("_target", "_survey")


def reference(question: Question) -> Found:
    """Crossmatch the nested catalogue band by band, compute, flatten."""
    spec = question.spec
    columns = spec.columns
    targets = lsdb.from_dataframe(question.targets, ra_column="ra", dec_column="dec")
    frames = []
    for code in _observed_bands(question, spec):
        survey = lsdb.open_catalog(
            question.catalogue,
            columns=[*_light_columns(spec), _nested(spec)],
            filters=[(columns["band"], "==", code)],
        )
        frames.append(_flatten(_crossmatch(targets, survey, n_neighbors=1).compute(), spec))
    return Found(lambda: _rows(pd.concat(frames), spec), {})


def one_pass(question: Question) -> Found:
    """Crossmatch all bands at once, with the needed fields of the touched partitions."""
    spec = question.spec
    targets = _lean_targets(question)
    survey = lsdb.open_catalog(
        question.catalogue,
        columns=[*_light_columns(spec), *_list_columns(spec)],
        search_filter=lsdb.PixelSearch(targets.get_healpix_pixels()),
    )
    matched = _crossmatch(targets, survey, n_neighbors=_MANY_NEIGHBOURS)
    flat = _flatten(matched.compute(progress_bar=False), spec)
    return Found(lambda: _rows(flat, spec), {})


def two_steps(question: Question) -> Found:
    """Crossmatch the light columns, then read the light curves of the matched ids."""
    spec = question.spec
    object_id = spec.columns["object_id"]
    survey = lsdb.open_catalog(question.catalogue, columns=_light_columns(spec))
    lazy = _crossmatch(_lean_targets(question), survey, n_neighbors=_MANY_NEIGHBOURS)
    matched = lazy.compute(progress_bar=False).reset_index(drop=True)
    lists = lsdb.open_catalog(
        question.catalogue,
        columns=[object_id, *_list_columns(spec)],
        filters=[(object_id, "in", matched[f"{object_id}{_SUFFIXES[1]}"].tolist())],
        search_filter=lsdb.PixelSearch(lazy.get_healpix_pixels()),
    )
    curves = lists.compute(progress_bar=False)
    curves = curves.rename(columns={name: f"{name}{_SUFFIXES[1]}" for name in curves.columns})
    joined = matched.merge(curves, on=f"{object_id}{_SUFFIXES[1]}")
    flat = _flatten(joined, spec)
    return Found(lambda: _rows(flat, spec), {})


def _observed_bands(question: Question, spec: ArchiveSpec) -> list[int]:
    """Return the bands of the dense catalogues, which have no band without objects."""
    return [int(code) for code in spec.bands if spec.bands[code]["name"] in question.kind.bands]


def _lean_targets(question: Question) -> lsdb.catalog.Catalog:
    """Return the targets without the map and the margin, which the search does not need."""
    return lsdb.from_dataframe(
        question.targets,
        ra_column="ra",
        dec_column="dec",
        margin_threshold=None,
        should_generate_moc=False,
    )


def _crossmatch(
    targets: lsdb.catalog.Catalog, survey: lsdb.catalog.Catalog, *, n_neighbors: int
) -> lsdb.catalog.Catalog:
    return targets.crossmatch(
        survey,
        n_neighbors=n_neighbors,
        radius_arcsec=RADIUS_ARCSEC,
        suffixes=_SUFFIXES,
        suffix_method="all_columns",
        log_changes=False,
    )


def _light_columns(spec: ArchiveSpec) -> list[str]:
    return [spec.columns[role] for role in ("object_id", "ra", "dec", "band")]


def _list_columns(spec: ArchiveSpec) -> list[str]:
    return [spec.columns[role] for role in ("time", "value", "error", "flags")]


def _nested(spec: ArchiveSpec) -> str:
    return str(spec.columns["time"].partition(".")[0])


def _flatten(matched: pd.DataFrame, spec: ArchiveSpec) -> pd.DataFrame:
    """Return a row per epoch, with the target, the band and the distance of its object."""
    matched = matched.reset_index(drop=True)
    flat = matched[f"{_nested(spec)}{_SUFFIXES[1]}"].nest.to_flat()
    names = [f"number{_SUFFIXES[0]}", f"{spec.columns['band']}{_SUFFIXES[1]}", "_dist_arcsec"]
    return flat.join(matched[names])


def _rows(flat: pd.DataFrame, spec: ArchiveSpec) -> pd.DataFrame:
    codes = flat[f"{spec.columns['band']}{_SUFFIXES[1]}"].to_numpy(np.int64)
    return pd.DataFrame(
        {
            "target": flat[f"number{_SUFFIXES[0]}"].to_numpy(np.int64),
            "band": [spec.bands[str(code)]["name"] for code in codes.tolist()],
            "time": flat[bare(spec.columns["time"])].to_numpy(np.float64),
            "value": flat[bare(spec.columns["value"])].to_numpy(np.float32),
            "separation_arcsec": flat["_dist_arcsec"].to_numpy(np.float64),
        }
    )
