"""Searching nested light curves with LSDB: as is usual, and as its experts would."""

import lsdb
import pandas as pd
from methods import RADIUS_ARCSEC, Found, Question, core_columns, light_curves
from upath import UPath

from lightloom.config import ArchiveSpec

#: More objects than lie within the radius of any target.
_MANY_NEIGHBOURS = 12

_SUFFIXES = ("_target", "_survey")
_DETECTION = "_detection"

_OBJECT_ROLES = ("object_id", "ra", "dec")


def reference(question: Question) -> Found:
    """Crossmatch the nested catalogue, band by band if a row has one, compute, flatten."""
    spec = question.spec
    targets = lsdb.from_dataframe(question.targets, ra_column="ra", dec_column="dec")
    frames = []
    for filters in _band_filters(question, spec):
        survey = lsdb.open_catalog(
            _place(question, question.catalogue),
            columns=[*_light_columns(spec), _nested(spec)],
            filters=filters,
        )
        frames.append(_flatten(_crossmatch(targets, survey, n_neighbors=1).compute(), spec))
    return Found(lambda: light_curves(pd.concat(frames), spec), {})


def one_pass(question: Question) -> Found:
    """Crossmatch all bands at once, with the needed fields of the touched partitions."""
    spec = question.spec
    targets = _lean_targets(question)
    survey = lsdb.open_catalog(
        _place(question, question.catalogue),
        columns=[*_light_columns(spec), *_list_columns(spec)],
        search_filter=lsdb.PixelSearch(targets.get_healpix_pixels()),
    )
    matched = _crossmatch(targets, survey, n_neighbors=_MANY_NEIGHBOURS)
    flat = _flatten(matched.compute(progress_bar=False), spec)
    return Found(lambda: light_curves(flat, spec), {})


def two_steps(question: Question) -> Found:
    """Crossmatch the light columns, then read the light curves of the matched ids."""
    spec = question.spec
    object_id = spec.columns["object_id"]
    survey = lsdb.open_catalog(_place(question, question.catalogue), columns=_light_columns(spec))
    lazy = _crossmatch(_lean_targets(question), survey, n_neighbors=_MANY_NEIGHBOURS)
    matched = lazy.compute(progress_bar=False).reset_index(drop=True)
    lists = lsdb.open_catalog(
        _place(question, question.catalogue),
        columns=[object_id, *_list_columns(spec)],
        filters=[(object_id, "in", matched[f"{object_id}{_SUFFIXES[1]}"].tolist())],
        search_filter=lsdb.PixelSearch(lazy.get_healpix_pixels()),
    )
    curves = lists.compute(progress_bar=False)
    curves = curves.rename(columns={name: f"{name}{_SUFFIXES[1]}" for name in curves.columns})
    joined = matched.merge(curves, on=f"{object_id}{_SUFFIXES[1]}")
    flat = _flatten(joined, spec)
    return Found(lambda: light_curves(flat, spec), {})


def reference_join(question: Question) -> Found:
    """Crossmatch the objects, join the detections of the touched partitions, compute."""
    spec = question.spec
    object_id = spec.columns["object_id"]
    targets = lsdb.from_dataframe(question.targets, ra_column="ra", dec_column="dec")
    objects = lsdb.open_catalog(_place(question, question.catalogue), columns=_light_columns(spec))
    matched = _crossmatch(targets, objects, n_neighbors=1)
    detections = lsdb.open_catalog(
        _place(question, question.detections),
        columns=core_columns(spec),
        search_filter=lsdb.PixelSearch(matched.get_healpix_pixels()),
    )
    joined = matched.join(
        detections,
        left_on=f"{object_id}{_SUFFIXES[1]}",
        right_on=object_id,
        suffixes=("", _DETECTION),
        suffix_method="all_columns",
        log_changes=False,
    ).compute()
    found = joined.rename(columns=lambda name: name.removesuffix(_DETECTION))
    return Found(lambda: light_curves(_named(found), spec), {})


def join_by_ids(question: Question) -> Found:
    """Crossmatch the objects, then read the detections by a filter on the matched ids."""
    spec = question.spec
    object_id = spec.columns["object_id"]
    objects = lsdb.open_catalog(
        _place(question, question.catalogue),
        columns=_light_columns(spec),
        search_filter=lsdb.PixelSearch(_lean_targets(question).get_healpix_pixels()),
    )
    lazy = _crossmatch(_lean_targets(question), objects, n_neighbors=_MANY_NEIGHBOURS)
    matched = lazy.compute(progress_bar=False).reset_index(drop=True)
    detections = lsdb.open_catalog(
        _place(question, question.detections),
        columns=core_columns(spec),
        filters=[(object_id, "in", matched[f"{object_id}{_SUFFIXES[1]}"].tolist())],
        search_filter=lsdb.PixelSearch(lazy.get_healpix_pixels()),
    ).compute(progress_bar=False)
    found = matched.merge(
        detections.reset_index(drop=True), left_on=f"{object_id}{_SUFFIXES[1]}", right_on=object_id
    )
    return Found(lambda: light_curves(_named(found), spec), {})


def _place(question: Question, root: str) -> UPath:
    return UPath(root, **question.storage_options)


def _band_filters(question: Question, spec: ArchiveSpec) -> list[list[tuple[str, str, int]] | None]:
    """Return a filter for each band; the dense catalogues have no band without objects."""
    if "band" not in spec.columns:
        return [None]
    bands = question.kind.bands
    codes = [int(code) for code in spec.bands if spec.bands[code]["name"] in bands]
    return [[(spec.columns["band"], "==", code)] for code in codes]


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
    """Return the columns of an object that are not of its detections."""
    roles = ("object_id", "ra", "dec", "band") if spec.detections is None else _OBJECT_ROLES
    return [spec.columns[role] for role in roles if role in spec.columns]


def _list_columns(spec: ArchiveSpec) -> list[str]:
    return [name for name in core_columns(spec) if "." in name]


def _nested(spec: ArchiveSpec) -> str:
    return _list_columns(spec)[0].partition(".")[0]


def _flatten(matched: pd.DataFrame, spec: ArchiveSpec) -> pd.DataFrame:
    """Return a row per epoch, with the target, the distance of its object and its band, if one."""
    matched = matched.reset_index(drop=True)
    nested = f"{_nested(spec)}{_SUFFIXES[1]}"
    flat = matched[nested].nest.to_flat()
    own = {f"{name}{_SUFFIXES[1]}": name for name in _light_columns(spec)}
    return _named(flat.join(matched.drop(columns=nested).rename(columns=own)))


def _named(found: pd.DataFrame) -> pd.DataFrame:
    names = {f"number{_SUFFIXES[0]}": "target", "_dist_arcsec": "separation_arcsec"}
    return found.rename(columns=names)
