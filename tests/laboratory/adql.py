"""ADQL to DuckDB: table names, spherical geometry, TOP; joins on the sphere by bands."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from laboratory.exchange import RequestProblemError

#: Great-circle distance [deg]; the haversine keeps its precision at small angles.
DISTANCE_MACRO = """
CREATE MACRO adql_distance(ra1, dec1, ra2, dec2) AS
    degrees(2 * asin(least(1, sqrt(
        pow(sin(radians(dec2 - dec1) / 2), 2)
        + cos(radians(dec1)) * cos(radians(dec2)) * pow(sin(radians(ra2 - ra1) / 2), 2)))))
"""

#: Widening of a band [deg], so that rounding never takes a row from its edge.
BAND_MARGIN_DEG = 1e-9

UPLOAD_SCHEMA = "tap_upload"

#: Right ascension and declination of one position, then of the other. [deg]
Points = tuple[exp.Expr, exp.Expr, exp.Expr, exp.Expr]


@dataclass(frozen=True)
class Relation:
    """A table that a query may name.

    Attributes
    ----------
    sql_schema, sql_name : str
        Name in DuckDB.
    fields : pyarrow.Schema
        Columns with their metadata.
    """

    sql_schema: str
    sql_name: str
    fields: pa.Schema


@dataclass(frozen=True)
class Translation:
    """A query for DuckDB.

    Attributes
    ----------
    sql : str
        The query.
    fields : list of pyarrow.Field or None
        By output column the column of a table it comes from; None where it is computed.
    """

    sql: str
    fields: list[pa.Field | None]


def translate(query: str, relations: Mapping[str, Relation], max_rows: int) -> Translation:
    """Translate one ADQL query.

    Parameters
    ----------
    query : str
        ADQL 2.0; of the geometry POINT, CIRCLE, CONTAINS, DISTANCE, COORD1 and COORD2.
    relations : mapping of str to Relation
        By name in lower case; qualified (``schema.table``) and bare.
    max_rows : int
        Largest number of rows that the translated query returns.

    Raises
    ------
    RequestProblemError
        The query cannot be parsed, or names an unknown table or an unsupported function.
    """
    tree = _parse(query)
    sources = _resolve_tables(tree, relations)
    for column in tree.find_all(exp.Column):
        # ADQL may write schema.table.column; DuckDB knows the alias alone.
        column.set("db", None)
        column.set("catalog", None)
    fields = _output_fields(tree, sources)
    tree.transform(_geometry, copy=False)
    top = _number(tree.args["limit"].expression) if tree.args.get("limit") else None
    if top is None or top > max_rows:
        tree.set("limit", exp.Limit(expression=exp.Literal.number(max_rows)))
    return Translation(tree.sql("duckdb", identify=True), fields)


def constant_targets(query: str) -> list[str]:
    """Return the positions and the members of IN lists that a query names as constants.

    Positions are given as two numbers in degrees with a blank between them, identifiers as
    they stand. A query that cannot be parsed names none.
    """
    try:
        tree = _parse(query)
    except RequestProblemError:
        return []
    found = []
    for call in tree.find_all(exp.Anonymous):
        if call.name.upper() in {"POINT", "CIRCLE"}:
            numbers = [_number(argument) for argument in _coordinates(call)[:2]]
            if len(numbers) == 2 and None not in numbers:
                found.append(f"{numbers[0]} {numbers[1]}")
    for condition in tree.find_all(exp.In):
        found += [entry.name for entry in condition.expressions if isinstance(entry, exp.Literal)]
    return found


def _parse(query: str) -> exp.Query:
    try:
        # Of the dialects known to the parser, T-SQL has ADQL's TOP.
        trees = sqlglot.parse(query, read="tsql")
    except SqlglotError as error:
        # The parser underlines for terminals; XML has no such characters.
        message = re.sub(r"\x1b\[\d+m", "", str(error))
        raise RequestProblemError(f"the query cannot be parsed: {message}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise RequestProblemError("a query must be one SELECT statement")
    return trees[0]


def _resolve_tables(
    tree: exp.Query, relations: Mapping[str, Relation]
) -> dict[exp.Table, Relation]:
    common = {entry.alias_or_name.lower() for entry in tree.find_all(exp.CTE)}
    sources = {}
    for table in tree.find_all(exp.Table):
        name = ".".join(part.name for part in table.parts)
        if name.lower() in common:
            continue
        relation = relations.get(name.lower())
        if relation is None:
            known = ", ".join(sorted(key for key in relations if "." in key))
            raise RequestProblemError(f'unknown table "{name}"; tables: {known}')
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
        table.set("this", exp.to_identifier(relation.sql_name))
        table.set("db", exp.to_identifier(relation.sql_schema))
        table.set("catalog", None)
        sources[table] = relation
    return sources


def _output_fields(tree: exp.Query, sources: Mapping[exp.Table, Relation]) -> list[pa.Field | None]:
    select = tree if isinstance(tree, exp.Select) else tree.find(exp.Select)
    if select is None:
        return []
    clauses = [select.args.get("from_") or select.args.get("from"), *select.args.get("joins", [])]
    tables = [clause.this for clause in clauses if clause is not None]
    known = {
        table.alias_or_name.lower(): sources[table].fields for table in tables if table in sources
    }
    if len(known) < len(tables):
        # The columns of a subquery are not followed; they come without unit.
        known = {}
    fields: list[pa.Field | None] = []
    for item in select.expressions:
        column = item.unalias()
        if isinstance(column, exp.Star):
            fields += [entry for schema in known.values() for entry in schema]
        elif isinstance(column, exp.Column) and isinstance(column.this, exp.Star):
            fields += list(known.get(column.table.lower(), pa.schema([])))
        elif isinstance(column, exp.Column):
            named = (
                [known[column.table.lower()]] if column.table.lower() in known else known.values()
            )
            fields.append(_field(column.name, named))
        else:
            fields.append(None)
    return fields


def _field(name: str, schemas: Iterable[pa.Schema]) -> pa.Field | None:
    for schema in schemas:
        for entry in schema:
            if entry.name.lower() == name.lower():
                return entry
    return None


def _geometry(node: exp.Expr) -> exp.Expr:
    """Replace one node; used on the whole tree from its root to its leaves."""
    if isinstance(node, exp.EQ | exp.NEQ):
        for call, constant in ((node.left, node.right), (node.right, node.left)):
            if _is_call(call, "CONTAINS") and _number(constant) in (0.0, 1.0):
                inside = _contains(call)
                wanted = (_number(constant) == 1.0) == isinstance(node, exp.EQ)
                return inside if wanted else exp.Not(this=exp.paren(inside))
    if isinstance(node, exp.LT | exp.LTE) and _is_call(node.left, "DISTANCE"):
        return _near(_two_points(node.left), node.right, type(node))
    if isinstance(node, exp.GT | exp.GTE) and _is_call(node.right, "DISTANCE"):
        mirrored = exp.LT if isinstance(node, exp.GT) else exp.LTE
        return _near(_two_points(node.right), node.left, mirrored)
    if _is_call(node, "Q3C_RADIAL_QUERY") and len(node.expressions) == 5:
        # Not ADQL, but the way in which users of Data Lab ask in SQL.
        ra, dec, ra0, dec0, radius = node.expressions
        return _near((ra, dec, ra0, dec0), radius, exp.LTE)
    if _is_call(node, "DISTANCE"):
        return _distance(_two_points(node))
    if _is_call(node, "CONTAINS"):
        return exp.Case().when(_contains(node), "1").else_("0")
    for number, name in enumerate(("COORD1", "COORD2")):
        if _is_call(node, name):
            return _point(node.expressions[0])[number]
    for name in ("POINT", "CIRCLE", "BOX", "POLYGON", "REGION", "INTERSECTS", "AREA", "CENTROID"):
        if _is_call(node, name):
            raise RequestProblemError(f"{name} is not supported in this place")
    return node


def _is_call(node: exp.Expr | None, name: str) -> bool:
    if isinstance(node, exp.Contains):
        return name == "CONTAINS"
    return isinstance(node, exp.Anonymous) and node.name.upper() == name


def _coordinates(call: exp.Expr) -> list[exp.Expr]:
    """Return the arguments of POINT or CIRCLE without the optional coordinate system."""
    arguments = call.expressions
    if arguments and isinstance(arguments[0], exp.Literal) and arguments[0].is_string:
        return arguments[1:]
    return arguments


def _point(call: exp.Expr) -> tuple[exp.Expr, exp.Expr]:
    coordinates = _coordinates(call)
    if not _is_call(call, "POINT") or len(coordinates) != 2:
        raise RequestProblemError(f"expected POINT(system, ra, dec), found {call.sql()}")
    return coordinates[0], coordinates[1]


def _two_points(call: exp.Expr) -> Points:
    arguments = call.expressions
    if len(arguments) == 4:
        return arguments[0], arguments[1], arguments[2], arguments[3]
    if len(arguments) == 2:
        return *_point(arguments[0]), *_point(arguments[1])
    raise RequestProblemError(f"DISTANCE takes two points or four numbers, found {call.sql()}")


def _contains(call: exp.Expr) -> exp.Expr:
    point, circle = (
        (call.this, call.expression) if isinstance(call, exp.Contains) else call.expressions
    )
    coordinates = _coordinates(circle)
    if not _is_call(circle, "CIRCLE") or len(coordinates) not in (2, 3):
        raise RequestProblemError(f"expected CIRCLE(system, ra, dec, radius), found {circle.sql()}")
    if len(coordinates) == 3:
        ra, dec, radius = coordinates
    else:
        (ra, dec), radius = _point(coordinates[0]), coordinates[1]
    return _near((*_point(point), ra, dec), radius, exp.LTE)


def _near(points: Points, radius: exp.Expr, comparison: type[exp.Expr]) -> exp.Expr:
    """Build the condition that two positions lie within a radius of each other.

    The difference in declination is at most the distance. Said as two inequalities with one
    table on either side, it lets DuckDB join by sorting instead of comparing all pairs.
    """
    _, dec1, _, dec2 = points
    if _tables(radius) <= _tables(dec1) and not _tables(radius) <= _tables(dec2):
        inner, outer = dec2, dec1
    else:
        inner, outer = dec1, dec2
    margin = exp.Literal.number(repr(BAND_MARGIN_DEG))
    reach = exp.paren(exp.Add(this=radius.copy(), expression=margin))
    lower = exp.GTE(this=inner.copy(), expression=exp.Sub(this=outer.copy(), expression=reach))
    upper = exp.LTE(
        this=inner.copy(), expression=exp.Add(this=outer.copy(), expression=reach.copy())
    )
    exact = comparison(this=_distance(points), expression=radius.copy())
    return exp.paren(exp.and_(lower, upper, exact))


def _distance(points: Points) -> exp.Expr:
    return exp.Anonymous(this="adql_distance", expressions=[angle.copy() for angle in points])


def _tables(expression: exp.Expr) -> set[str]:
    return {column.table.lower() for column in expression.find_all(exp.Column)}


def _number(expression: exp.Expr | None) -> float | None:
    if isinstance(expression, exp.Neg):
        value = _number(expression.this)
        return None if value is None else -value
    if isinstance(expression, exp.Literal) and not expression.is_string:
        return float(expression.this)
    return None
