"""Checks of the configuration beyond what a schema can say: keys that must fit other keys."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightloom.config_schema import KeyPath, Problem
from lightloom.suggest import did_you_mean

#: Magnitude system that each native unit is converted from.
MAG_SYSTEMS = {"mag": "AB", "Vega nMgy": "Vega"}

#: Roles of columns that serve the search for positions and are not part of a light curve.
_SEARCH_ROLES = ("ra", "dec", "partition")

Found = Iterator[tuple[KeyPath, str]]


def cross_check(config: Mapping[str, Any], problems: list[Problem]) -> list[Problem]:
    """Check what a schema cannot say.

    Parameters
    ----------
    config : mapping
        The configuration with all defaults.
    problems : list of Problem
        What the schema found; sections with problems are not checked further.

    Returns
    -------
    list of Problem
        Further problems.
    """
    return [Problem(path, text) for path, text in _check(config, problems)]


def _check(config: Mapping[str, Any], problems: list[Problem]) -> Found:
    if _is_sound(problems, "sample"):
        for number, source in enumerate(config["sample"]["sources"]):
            for key, text in _check_source(source):
                yield ("sample", "sources", number, key), text
    if _is_sound(problems, "dask"):
        for key, text in _check_dask(config["dask"]):
            yield ("dask", key), text
    if _is_sound(problems, "archives"):
        yield from _check_options(config["archives"])
    archives, catalogue = config.get("archives"), config.get("catalogue")
    if not isinstance(catalogue, dict):
        return
    if isinstance(archives, dict):
        for name in archives.keys() - catalogue.keys():
            nearest = did_you_mean(name, catalogue)
            yield ("archives", name), f"unknown archive{nearest} (expected: {_listed(catalogue)})"
    for name, entry in catalogue.items():
        if _is_sound(problems, "catalogue", name):
            for path, text in _check_entry(entry):
                yield ("catalogue", name, *path), text


def _is_sound(problems: list[Problem], *path: str | int) -> bool:
    """Tell whether nothing at, above or below a key is wrong."""
    return not any(
        problem.path[: len(path)] == path or path[: len(problem.path)] == problem.path
        for problem in problems
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(str, names)))


def _check_source(source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    motions = [key for key in ("pmra", "pmdec") if key in source]
    if len(motions) == 1:
        other = "pmdec" if motions == ["pmra"] else "pmra"
        yield other, f"missing, expected both pmra and pmdec, found only {motions[0]}"
    if motions and "ref_epoch" not in source:
        yield "ref_epoch", "missing, expected the epoch of positions with proper motions"
    if source["frame"] == "galactic" and source["unit"] == "hourangle":
        yield "unit", "found 'hourangle', expected deg for the frame galactic"


def _check_dask(dask: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cluster = dask["cluster"]
    for key in ("address", "scheduler_file"):
        if cluster == key and key not in dask:
            yield key, f"missing, expected it because dask.cluster is {key}"
        if cluster != key and key in dask:
            yield "cluster", f"found {cluster!r}, expected {key} because dask.{key} is given"


def _check_options(archives: Mapping[str, Any]) -> Found:
    for name, options in archives.items():
        for path, text in _check_conditions(options.get("views", {})):
            yield ("archives", name, "views", *path), text
    if not any(options["enabled"] for options in archives.values()):
        yield ("archives",), "found none with enabled: true, expected at least one"


def _check_entry(entry: Mapping[str, Any]) -> Found:
    columns, units = entry["columns"], entry["units"]
    if entry["layout"] == "hive" and "partition" not in columns:
        yield ("columns", "partition"), "missing, expected it because layout is hive"
    native, system = units["native"], units["mag_system"]
    if system != MAG_SYSTEMS[native]:
        text = f"found {system!r}, expected {MAG_SYSTEMS[native]} because units.native is {native}"
        yield ("units", "mag_system"), text
    for code, band in entry["bands"].items():
        if MAG_SYSTEMS[native] == "Vega" and "ab_minus_vega_mag" not in band:
            path = ("bands", code, "ab_minus_vega_mag")
            yield path, f"missing, expected it because units.native is {native}"
    yield from _check_quality_columns(entry)
    for section in ("quality", "views"):
        for key, text in _check_conditions(entry[section]):
            yield (section, *key), text


def _check_quality_columns(entry: Mapping[str, Any]) -> Found:
    lists = [*entry["columns"]["field"], *entry["columns"]["extra"]]
    singles = [
        name
        for role, name in entry["columns"].items()
        if isinstance(name, str) and role not in _SEARCH_ROLES
    ]
    kept = {name.rpartition(".")[2] for name in [*singles, *lists]}
    for level, conditions in entry["quality"].items():
        for number, (column, _, _) in enumerate(conditions):
            if column not in kept:
                nearest = did_you_mean(column, kept) or ","
                text = f"found {column!r}{nearest} expected a column kept here: {_listed(kept)}"
                yield ("quality", level, number, 0), text


def _check_conditions(groups: Mapping[str, list[list[Any]]]) -> Found:
    for group, conditions in groups.items():
        for number, (_, operator, value) in enumerate(conditions):
            if operator == "&" and (not isinstance(value, int) or isinstance(value, bool)):
                text = f"found {value!r}, expected the bits as a whole number, as the operator is &"
                yield (group, number, 2), text
