"""Faults in the rows of a reply: too few, without one target, with other columns or units."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from laboratory.faults import Rule

#: Names of positions in the tables of the services, in lower case.
POSITIONS = (("ra", "dec"), ("s_ra", "s_dec"), ("coord_ra", "coord_dec"))
UNITS = b"unit"

#: What no archive measures, and what no archive calls a thing.
ABSURD_NUMBERS = (math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0)
ABSURD_TEXTS = (
    "<script>alert(1)</script>",
    "'; DROP TABLE x; --",
    "$(touch pwned)",
    "../../../etc/passwd",
    "{0} {x} %s $\\frac{",
    "\u202egnp.exe",
    "[red]=cmd|' /C calc'!A0",
)


@dataclass(frozen=True)
class Reply:
    """Rows to be sent.

    Attributes
    ----------
    table : pyarrow.Table
        Fields may carry the metadata `unit`, `ucd` and `description`.
    overflow : bool
        Whether rows were left out because of a limit.
    """

    table: pa.Table
    overflow: bool = False


def damage(reply: Reply, rule: Rule) -> Reply:
    """Apply a rule to the rows of a reply; other rules leave it as it is."""
    if rule.action == "overflow":
        rows = int(reply.table.num_rows * rule.fraction)
        return Reply(reply.table.slice(0, rows), overflow=True)
    if rule.action == "wrong_columns":
        return replace(reply, table=_change_columns(reply.table, rule))
    if rule.action == "absurd_values":
        return replace(reply, table=_absurd(reply.table, rule))
    if rule.action == "missing_target":
        return replace(reply, table=reply.table.filter(_of_others(reply.table, rule)))
    return reply


def separation_deg(
    ra_deg: np.ndarray, dec_deg: np.ndarray, ra0_deg: float, dec0_deg: float
) -> np.ndarray:
    """Return great-circle distances [deg] from one position, shape (n,)."""
    ra, dec, ra0, dec0 = (np.radians(angle) for angle in (ra_deg, dec_deg, ra0_deg, dec0_deg))
    haversine = (
        np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    )
    return np.degrees(2 * np.arcsin(np.sqrt(np.minimum(haversine, 1.0))))


def positions_of(table: pa.Table) -> tuple[np.ndarray, np.ndarray] | None:
    """Return right ascension and declination [deg] of a table's rows, None where it has none."""
    names = {name.lower(): name for name in table.column_names}
    for ra, dec in POSITIONS:
        if ra in names and dec in names:
            return tuple(table[names[name]].cast(pa.float64()).to_numpy() for name in (ra, dec))
    return None


def _change_columns(table: pa.Table, rule: Rule) -> pa.Table:
    table = table.drop_columns([name for name in rule.drop if name in table.column_names])
    fields = []
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name in rule.retype:
            column = column.cast(rule.retype[field.name])
        metadata = dict(field.metadata or {})
        if field.name in rule.units:
            metadata[UNITS] = rule.units[field.name].encode()
        name = rule.rename.get(field.name, field.name)
        fields.append(pa.field(name, column.type, metadata=metadata))
        columns.append(column)
    return pa.table(columns, schema=pa.schema(fields))


def _absurd(table: pa.Table, rule: Rule) -> pa.Table:
    for place, field in enumerate(table.schema):
        if rule.columns and field.name not in rule.columns:
            continue
        if pa.types.is_floating(field.type):
            values: tuple = ABSURD_NUMBERS
        elif pa.types.is_integer(field.type):
            bits = field.type.bit_width - 1
            values = (2**bits - 1, -(2**bits) + 1, -1)
        elif pa.types.is_string(field.type):
            values = ABSURD_TEXTS
        else:
            continue
        absurd = [values[row % len(values)] for row in range(table.num_rows)]
        table = table.set_column(place, field, pa.array(absurd, field.type))
    return table


def _of_others(table: pa.Table, rule: Rule) -> pa.Array:
    """Mask the rows that neither hold a target's identifier nor lie near its position."""
    found = np.zeros(table.num_rows, dtype=bool)
    wanted = pa.array(rule.target, pa.string())
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_integer(column.type):
            found |= pc.is_in(column.cast(pa.string()), wanted).to_numpy()
    positions = positions_of(table)
    if rule.position and positions is not None:
        ra0_deg, dec0_deg, radius_arcsec = rule.position
        found |= separation_deg(*positions, ra0_deg, dec0_deg) * 3600 <= radius_arcsec
    return pa.array(~found)
