"""The searches of MAST's portal over tables of observations and products."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from laboratory.damage import positions_of, separation_deg
from laboratory.exchange import RequestProblemError

#: A search: (table, parameters of the request) to rows.
Search = Callable[[pa.Table, dict[str, Any]], pa.Table]

#: Names of catalogue entries as users write them, and as observations have them.
CATALOGUES = {"tic": "{:d}", "kic": "kplr{:09d}", "epic": "ktwo{:09d}"}
RESOLVERS = {"tic": "TIC", "kic": "KEPLER", "epic": "K2"}
ENTRY = re.compile(r"^(tic|kic|epic)\s*(\d+)$")
PAIR = re.compile(r"^([-+\d.eE]+)[\s,]+([-+\d.eE]+)$")


def cone(observations: pa.Table, parameters: dict[str, Any]) -> pa.Table:
    """Return the observations around `ra` and `dec` within `radius` [deg], nearest first.

    Raises
    ------
    RequestProblemError
        A parameter is missing or no number.
    """
    try:
        ra_deg, dec_deg, radius_deg = (float(parameters[name]) for name in ("ra", "dec", "radius"))
    except (KeyError, TypeError, ValueError) as error:
        raise RequestProblemError(f"ra, dec and radius must be numbers: {error}") from error
    return _within(observations, ra_deg, dec_deg, radius_deg)


def filtered(observations: pa.Table, parameters: dict[str, Any]) -> pa.Table:
    """Return the observations that pass `filters`, and lie near `position` if there is one.

    Raises
    ------
    RequestProblemError
        A filter names an unknown column, or the position is not ``ra, dec, radius`` [deg].
    """
    for entry in parameters.get("filters", []):
        observations = observations.filter(_condition(observations, entry))
    if position := parameters.get("position"):
        try:
            ra_deg, dec_deg, radius_deg = map(float, position.split(","))
        except ValueError as error:
            raise RequestProblemError(f"position: expected ra, dec, radius: {error}") from error
        observations = _within(observations, ra_deg, dec_deg, radius_deg)
    return observations


def products(table: pa.Table, parameters: dict[str, Any]) -> pa.Table:
    """Return the products of the observations `obsid`, a list with commas."""
    wanted = pa.array([part.strip() for part in str(parameters.get("obsid", "")).split(",")])
    return table.filter(pc.is_in(table["obsID"].cast(pa.string()), wanted))


def count(found: pa.Table) -> pa.Table:
    """Return the number of rows as a table, as the portal gives it."""
    return pa.table({"Column1": [found.num_rows]})


def resolve(observations: pa.Table, name: str) -> list[dict[str, Any]]:
    """Return the positions of a name: an entry of TIC, KIC or EPIC, a target, or a position.

    Parameters
    ----------
    observations : pyarrow.Table
        Their targets can be found.
    name : str
        Such as ``TIC 123``, ``KIC 456`` or ``10.5, -3.25`` [deg].
    """
    text = name.strip().lower()
    resolver = "SIMBAD"
    wanted = text
    if pair := PAIR.match(text):
        return [_coordinate(text, "COORDINATES", float(pair[1]), float(pair[2]))]
    if entry := ENTRY.match(text):
        wanted = CATALOGUES[entry[1]].format(int(entry[2]))
        resolver = RESOLVERS[entry[1]]
    names = pc.utf8_lower(observations["target_name"])
    found = observations.filter(pc.equal(names, wanted)).slice(0, 1).to_pylist()
    return [_coordinate(text, resolver, row["s_ra"], row["s_dec"]) for row in found]


def _coordinate(text: str, resolver: str, ra_deg: float, dec_deg: float) -> dict[str, Any]:
    return {
        "searchString": text,
        "resolver": resolver,
        "cached": False,
        "canonicalName": text.upper(),
        "ra": ra_deg,
        "decl": dec_deg,
    }


def _within(observations: pa.Table, ra_deg: float, dec_deg: float, radius_deg: float) -> pa.Table:
    positions = positions_of(observations)
    assert positions is not None
    distance_deg = separation_deg(*positions, ra_deg, dec_deg)
    chosen = np.flatnonzero(distance_deg <= radius_deg)
    chosen = chosen[np.argsort(distance_deg[chosen], kind="stable")]
    found = observations.take(chosen)
    distance = pa.field("distance", pa.float64(), metadata={"unit": "arcsec"})
    if "distance" in found.column_names:
        found = found.drop_columns(["distance"])
    return found.append_column(distance, pa.array(distance_deg[chosen] * 3600))


def _condition(table: pa.Table, entry: dict[str, Any]) -> pa.Array | pa.ChunkedArray:
    name = entry["paramName"]
    known = {column.lower(): column for column in table.column_names}
    if name.lower() not in known:
        raise RequestProblemError(f"unknown column {name}; columns: {table.column_names}")
    column = table[known[name.lower()]]
    values = entry["values"]
    if values and isinstance(values[0], dict):
        low, high = float(values[0]["min"]), float(values[0]["max"])
        return pc.fill_null(
            pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high)), False
        )
    texts = pc.utf8_lower(column.cast(pa.string()))
    found = pc.is_in(texts, pa.array([str(value).lower() for value in values], pa.string()))
    if pattern := entry.get("freeText"):
        found = pc.or_(found, pc.fill_null(pc.match_like(texts, pattern.lower()), False))
    return found
