"""Checks of the configuration beyond what a schema can say: keys that must fit other keys."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from lightloom.config_schema import KeyPath, Problem
from lightloom.config_secrets import find_secrets
from lightloom.moving.config import check_moving
from lightloom.suggest import did_you_mean

#: Magnitude systems in which each native unit can be published.
MAG_SYSTEMS = {
    "mag": ("AB", "Vega"),
    "Jy": ("AB",),
    "mJy": ("AB",),
    "uJy": ("AB",),
    "nJy": ("AB",),
    "nMgy": ("AB",),
    "Vega nMgy": ("Vega",),
    "electron/s": ("AB", "none"),
    "relative": ("AB", "none"),
    "erg/cm2/s": ("none",),
    "GeV": ("none",),
    "none": ("none",),
}

#: Keys of the section ``dask`` that describe a cluster other than the job's own.
CLUSTERS_ELSEWHERE = ("address", "scheduler_file", "gateway", "jobqueue", "plugin")

#: Options of an archive that a user may give in part; the rest stays as in the catalogue.
NESTED_OPTIONS = frozenset({"detections", "limits", "options", "views"})

#: Roles of columns that serve the search for positions and are not part of a light curve.
_SEARCH_ROLES = ("ra", "dec", "partition")

#: Names that the search gives to columns of its own.
_RESULT_COLUMNS = ("target", "match_arcsec")

_SUBSET = "{subset}"

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
    found = [Problem(path, text) for path, text in _check(config, problems)]
    told = {problem.path for problem in [*problems, *found]}
    return found + [Problem(*one) for one in find_secrets(config) if one[0] not in told]


def _check(config: Mapping[str, Any], problems: list[Problem]) -> Found:
    if _is_sound(problems, "sample"):
        for number, source in enumerate(config["sample"]["sources"]):
            for path, text in _check_source(source):
                yield ("sample", "sources", number, *path), text
    if _is_sound(problems, "dask"):
        for path, text in _check_dask(config["dask"]):
            yield ("dask", *path), text
    archives, catalogue = config.get("archives"), config.get("catalogue")
    if _is_sound(problems, "archives"):
        yield from _check_options(config["archives"], catalogue)
    if not isinstance(catalogue, dict):
        return
    if isinstance(archives, dict):
        for name in archives.keys() - catalogue.keys():
            nearest = did_you_mean(name, catalogue)
            yield ("archives", name), f"unknown archive{nearest} (expected: {_listed(catalogue)})"
    if _is_sound(problems, "services"):
        for service, options in config["services"].items():
            for number, name in enumerate(options.get("archives", ())):
                if name not in catalogue:
                    nearest = did_you_mean(name, catalogue)
                    text = f"unknown archive {name!r}{nearest} (expected: {_listed(catalogue)})"
                    yield ("services", service, "archives", number), text
    if "moving" in config and _is_sound(problems, "moving"):
        for place, text in check_moving(config["moving"]):
            yield ("moving", *place), text
        for number, name in enumerate(config["moving"]["services"]):
            if name not in config["services"]:
                text = f"unknown service {name!r} (expected: {_listed(config['services'])})"
                yield ("moving", "services", number), text
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


def _check_source(source: Mapping[str, Any]) -> Found:
    motions = [key for key in ("pmra", "pmdec") if key in source]
    if len(motions) == 1:
        other = "pmdec" if motions == ["pmra"] else "pmra"
        yield (other,), f"missing, expected both pmra and pmdec, found only {motions[0]}"
    if motions and "ref_epoch" not in source:
        yield ("ref_epoch",), "missing, expected the epoch of positions with proper motions"
    if source.get("frame") == "galactic" and source.get("unit") == "hourangle":
        yield ("unit",), "found 'hourangle', expected deg for the frame galactic"
    for key in ("path", "endpoint"):
        if "@" in urlsplit(source.get(key, "")).netloc:
            text = "found a user or password in the address, expected them in the environment"
            yield (key,), text
    if source["kind"] == "inbox" and "://" in source["path"]:
        yield ("path",), f"found {source['path']!r}, expected a folder on this machine"
    if source["kind"] in ("names", "ztf_ids"):
        yield from _check_list(source)
    if source["kind"] == "sdss_quasars" and source["z_min"] >= source["z_max"]:
        yield ("z_max",), f"found {source['z_max']}, expected more than z_min, {source['z_min']}"
    if source["kind"] == "literature":
        if "catalogue" in source and source.get("service") != "vizier":
            yield ("catalogue",), "found, expected service: vizier beside it"
        yield from _check_conditions({"where": source.get("where", [])})


def _check_list(source: Mapping[str, Any]) -> Found:
    if ("entries" in source) == ("path" in source):
        found = "both" if "path" in source else "neither"
        yield ("entries",), f"found {found} of entries and path, expected one of them"
    places: dict[str, int] = {}
    for number, entry in enumerate(source.get("entries", ())):
        first = places.setdefault(entry, number)
        if first != number:
            yield ("entries", number), f"found {entry!r}, also at [{first}], expected it once"
        if not entry.isprintable() or entry != entry.strip():
            text = f"found {entry!r}, expected text without surrounding space or line breaks"
            yield ("entries", number), text


def _check_dask(dask: Mapping[str, Any]) -> Found:
    described = [name for name in CLUSTERS_ELSEWHERE if name in dask]
    cluster = dask.get("cluster")
    if cluster in CLUSTERS_ELSEWHERE and cluster not in dask:
        yield (cluster,), f"missing, expected it because dask.cluster is {cluster}"
    if cluster is None and len(described) > 1:
        yield ("cluster",), f"missing, expected it to choose between {', '.join(described)}"
    for name in ("gateway", "jobqueue"):
        adapt = dask.get(name, {}).get("adapt")
        if adapt and adapt["minimum"] > adapt["maximum"]:
            text = f"found {adapt['minimum']}, expected at most maximum, {adapt['maximum']}"
            yield (name, "adapt", "minimum"), text
    auth = dask.get("gateway", {}).get("auth", {})
    if auth.get("type") == "basic" and not {"secret_env", "secret_file"} & auth.keys():
        text = "missing, expected it or secret_file because dask.gateway.auth.type is basic"
        yield ("gateway", "auth", "secret_env"), text


def _check_options(archives: Mapping[str, Any], catalogue: Any) -> Found:
    for name, options in archives.items():
        entry = catalogue.get(name) if isinstance(catalogue, dict) else None
        if isinstance(entry, dict):
            for key, text in _check_places(options, entry):
                yield ("archives", name, key), text
            for path, text in _check_copies(entry, options.get("copies", {})):
                yield ("archives", name, *path), text
        for path, text in _check_conditions(options.get("views", {})):
            yield ("archives", name, "views", *path), text
    if not any(options["enabled"] for options in archives.values()):
        yield ("archives",), "found none with enabled: true, expected at least one"


def _check_places(
    options: Mapping[str, Any], entry: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Check that options place the catalogues that an entry has."""
    if "detections" in options and "detections" not in entry:
        yield "detections", "found, expected none: the archive has no catalogue of detections"
    if "endpoint" in options:
        yield from _check_endpoint(options["endpoint"], entry.get("subsets", []))


def _check_copies(entry: Mapping[str, Any], changes: Mapping[str, Any]) -> Found:
    """Check that copies, with the changes that options make, have what the entry has."""
    for name, copy in merge_copies(entry["copies"], changes).items():
        if "endpoint" not in copy:
            yield ("copies", name, "endpoint"), f"missing, found only the keys: {_listed(copy)}"
            continue
        for option, text in _check_endpoint(copy["endpoint"], entry.get("subsets", [])):
            yield ("copies", name, option), text
        if ("detections" in copy) != ("detections" in entry):
            found, has = ("found", "no") if "detections" in copy else ("missing", "a")
            text = f"{found}, but the archive has {has} catalogue of detections"
            yield ("copies", name, "detections"), text


def merge_copies(
    copies: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the copies of a catalogue entry with single options replaced, and further copies."""
    return {
        name: {**copies.get(name, {}), **changes.get(name, {})}
        for name in sorted(copies.keys() | changes.keys())
    }


def _check_entry(entry: Mapping[str, Any]) -> Found:
    for option, text in _check_endpoint(entry["endpoint"], entry["subsets"]):
        yield (option,), text
    yield from _check_copies(entry, {})
    for section in ("quality", "views"):
        for key, text in _check_conditions(entry[section]):
            yield (section, *key), text
    # The module of a service may know all of this by itself.
    if "units" in entry:
        yield from _check_units(entry)
    if "columns" in entry:
        yield from _check_layouts(entry)
        yield from _check_measurements(entry)
        yield from _check_names(entry)
        yield from _check_quality_columns(entry)
    for code, band in entry.get("bands", {}).items():
        for key, text in _check_conditions(band.get("quality", {})):
            yield ("bands", code, "quality", *key), text


def _check_endpoint(endpoint: str, subsets: list[str]) -> Iterator[tuple[str, str]]:
    if subsets and _SUBSET not in endpoint:
        yield "endpoint", f"found {endpoint!r}, expected {_SUBSET} in it, as subsets are given"
    if _SUBSET in endpoint and not subsets:
        yield "endpoint", f"found {endpoint!r}, expected no {_SUBSET}, as no subsets are given"


def _check_layouts(entry: Mapping[str, Any]) -> Found:
    places = {(): entry} | ({("detections",): entry["detections"]} if "detections" in entry else {})
    for path, catalogue in places.items():
        if catalogue["layout"] == "hive" and "partition" not in catalogue["columns"]:
            yield (*path, "columns", "partition"), "missing, expected it because layout is hive"


def _check_units(entry: Mapping[str, Any]) -> Found:
    native, system = entry["units"]["native"], entry["units"]["mag_system"]
    if system not in MAG_SYSTEMS[native]:
        expected = " or ".join(MAG_SYSTEMS[native])
        text = f"found {system!r}, expected {expected} because units.native is {native}"
        yield ("units", "mag_system"), text
        return
    needed = {
        "ab_minus_vega_mag": system == "Vega",
        "ab_zero_point_mag": system == "AB" and "none" in MAG_SYSTEMS[native],
    }
    because = f"because units.native is {native} and units.mag_system is {system}"
    for code, band in entry.get("bands", {}).items():
        for key, is_needed in needed.items():
            if is_needed and key not in band:
                yield ("bands", code, key), f"missing, expected it {because}"
            if key in band and not is_needed:
                yield ("bands", code, key), f"found {band[key]}, expected none {because}"


def _check_measurements(entry: Mapping[str, Any]) -> Found:
    """Check that every band has a time, a brightness and one kind of error."""
    columns, bands = entry["columns"], entry.get("bands", {})
    if "band" in columns:
        for code, band in bands.items():
            for key in ("columns", "quality"):
                if key in band:
                    text = "found, expected none because columns.band names the band of a row"
                    yield ("bands", code, key), text
    places: dict[KeyPath, Mapping[str, Any]] = {("columns",): columns}
    if "band" not in columns:
        places = {
            ("bands", code, "columns") if "columns" in band else ("columns",): band_roles(
                columns, band
            )
            for code, band in bands.items()
        }
    for path, roles in places.items():
        for role in ("time", "value"):
            if role not in roles:
                yield (*path, role), f"missing, found only the keys: {', '.join(roles)}"
        if "error" not in roles and "value_over_error" not in roles:
            yield (*path, "error"), "missing, expected error or value_over_error"
        if "error" in roles and "value_over_error" in roles:
            yield (*path, "value_over_error"), "found, expected none because error is given"


def band_roles(columns: Mapping[str, Any], band: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a band by their role, where a row holds several bands.

    Parameters
    ----------
    columns : mapping
        The columns of the catalogue entry.
    band : mapping
        A band of it. A kind of error given here takes the place of either kind.

    Returns
    -------
    dict
    """
    own = band.get("columns", {})
    errors = {"error", "value_over_error"}
    replaced = errors if errors & own.keys() else set()
    return {role: name for role, name in columns.items() if role not in replaced} | own


def payload_columns(
    columns: Mapping[str, Any], bands: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the columns that a light curve is made of, in a fixed order without repeats.

    Parameters
    ----------
    columns : mapping
        The columns of a catalogue entry, by role.
    bands : mapping
        Its bands, by code.

    Returns
    -------
    list of str
    """
    names: list[str] = []
    for group in (columns, *(band.get("columns", {}) for band in bands.values())):
        for role, name in group.items():
            if role not in _SEARCH_ROLES:
                names += [name] if isinstance(name, str) else name
    return list(dict.fromkeys(names))


def _check_names(entry: Mapping[str, Any]) -> Found:
    names = [
        *_RESULT_COLUMNS,
        *map(_bare, payload_columns(entry["columns"], entry.get("bands", {}))),
    ]
    for name, count in sorted(Counter(names).items()):
        if count > 1:
            text = f"found {name!r} as the name of {count} columns, expected different last parts"
            yield ("columns",), text


def _check_quality_columns(entry: Mapping[str, Any]) -> Found:
    kept = set(map(_bare, payload_columns(entry["columns"], entry.get("bands", {}))))
    places: dict[KeyPath, Mapping[str, Any]] = {("quality",): entry["quality"]} | {
        ("bands", code, "quality"): band.get("quality", {})
        for code, band in entry.get("bands", {}).items()
    }
    for path, quality in places.items():
        for level, conditions in quality.items():
            for number, (column, _, _) in enumerate(conditions):
                if column not in kept:
                    nearest = did_you_mean(column, kept) or ","
                    text = f"found {column!r}{nearest} expected a column kept here: {_listed(kept)}"
                    yield (*path, level, number, 0), text


def _bare(column: str) -> str:
    """Name of a nested column once it is flattened."""
    return column.rpartition(".")[2]


def _check_conditions(groups: Mapping[str, list[list[Any]]]) -> Found:
    for group, conditions in groups.items():
        for number, (_, operator, value) in enumerate(conditions):
            if operator == "&" and (not isinstance(value, int) or isinstance(value, bool)):
                text = f"found {value!r}, expected the bits as a whole number, as the operator is &"
                yield (group, number, 2), text
            if operator in ("~", "!~") and not _is_pattern(value):
                text = f"found {value!r}, expected a regular expression, as the operator is"
                text += f" {operator}"
                yield (group, number, 2), text


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False
