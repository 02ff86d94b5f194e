"""Filters and projections of MongoDB, applied to documents in memory."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


class QueryError(Exception):
    """A filter or projection is wrong; the message is the database's."""


#: What a path leads to if a document does not have it.
MISSING = object()


def value_at(document: Document, path: str) -> Any:
    """Return the value at a path with dots, `MISSING` if there is none."""
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


def matches(document: Document, conditions: Mapping[str, Any]) -> bool:
    """Return whether a document passes a filter.

    Raises
    ------
    QueryError
        An operator is unknown, or its operand is of the wrong kind.
    """
    for key, condition in conditions.items():
        if key in LOGICAL:
            if not isinstance(condition, list) or not condition:
                raise QueryError(f"{key} argument must be a non-empty array")
            if not LOGICAL[key](matches(document, part) for part in condition):
                return False
        elif key.startswith("$") and key != "$comment":
            raise QueryError(f"unknown top level operator: {key}")
        elif key != "$comment" and not _fits(value_at(document, key), condition):
            return False
    return True


def project(document: Document, projection: Mapping[str, Any]) -> dict[str, Any]:
    """Return the asked parts of a document; an empty projection asks for all.

    Raises
    ------
    QueryError
        Fields are both named to be in and to be out; only ``_id`` may differ from the others.
    """
    kinds = {bool(value) for key, value in projection.items() if key != "_id"}
    if len(kinds) > 1:
        raise QueryError("Cannot do inclusion and exclusion in the same projection")
    with_id = bool(projection.get("_id", True))
    if kinds == {True}:
        chosen: dict[str, Any] = {"_id": document["_id"]} if with_id else {}
        for path in projection:
            if path != "_id" and (value := value_at(document, path)) is not MISSING:
                _put(chosen, path.split("."), value)
        return chosen
    rest = _without(document, [key.split(".") for key in projection if key != "_id"])
    return rest if with_id else _without(rest, [["_id"]])


def sorted_by(documents: Sequence[Document], keys: Sequence[Sequence[Any]]) -> list[Document]:
    """Return documents in an order; the key ``$natural`` is the one they are in."""
    ordered = list(documents)
    for key, direction in reversed([(str(entry[0]), int(entry[1])) for entry in keys]):
        if key == "$natural":
            ordered = ordered if direction > 0 else ordered[::-1]
        else:
            ordered.sort(key=lambda document: _rank(value_at(document, key)), reverse=direction < 0)
    return ordered


def _rank(value: Any) -> tuple[int, Any]:
    """Return what orders values of different kinds: nothing, numbers, texts, others."""
    if value is MISSING or value is None:
        return (0, 0)
    if _is_number(value):
        return (1, value)
    return (2, value) if isinstance(value, str) else (3, str(value))


def _fits(value: Any, condition: Any) -> bool:
    if isinstance(condition, Mapping) and any(key.startswith("$") for key in condition):
        return all(_operate(name, value, operand, condition) for name, operand in condition.items())
    return _equals(value, condition)


def _operate(name: str, value: Any, operand: Any, condition: Mapping[str, Any]) -> bool:
    if name not in OPERATORS:
        raise QueryError(f"unknown operator: {name}")
    return OPERATORS[name](value, operand, condition)


def _equals(value: Any, operand: Any) -> bool:
    if operand is None:
        return value is None or value is MISSING
    if isinstance(value, list) and not isinstance(operand, list):
        return operand in value
    same_kind = _is_number(value) == _is_number(operand)
    return value is not MISSING and same_kind and bool(value == operand)


def _compares(operator: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    def compare(value: Any, operand: Any, _: Mapping[str, Any]) -> bool:
        # Values of different kinds are never in an order.
        alike = (_is_number(value) and _is_number(operand)) or (
            isinstance(value, str) and isinstance(operand, str)
        )
        return alike and operator(value, operand)

    return compare


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _in(value: Any, operand: Any, _: Mapping[str, Any]) -> bool:
    if not isinstance(operand, list):
        raise QueryError("$in needs an array")
    return any(_equals(value, part) for part in operand)


def _regex(value: Any, operand: Any, condition: Mapping[str, Any]) -> bool:
    flags = re.IGNORECASE if "i" in condition.get("$options", "") else 0
    return isinstance(value, str) and re.search(operand, value, flags) is not None


def _geo_within(value: Any, operand: Any, _: Mapping[str, Any]) -> bool:
    (longitude_deg, latitude_deg), radius_rad = center_sphere(operand)
    if not isinstance(value, Mapping) or value.get("type") != "Point":
        return False
    longitudes, latitudes = (
        [math.radians(one) for one in pair]
        for pair in zip((longitude_deg, latitude_deg), value["coordinates"], strict=True)
    )
    haversine = (
        math.sin((latitudes[1] - latitudes[0]) / 2) ** 2
        + math.cos(latitudes[0])
        * math.cos(latitudes[1])
        * math.sin((longitudes[1] - longitudes[0]) / 2) ** 2
    )
    return 2 * math.asin(math.sqrt(min(1.0, haversine))) <= radius_rad


def center_sphere(operand: Any) -> tuple[tuple[float, float], float]:
    """Return centre [deg] and radius [rad] of the circle that ``$geoWithin`` has.

    Raises
    ------
    QueryError
        It is no circle on the sphere.
    """
    shapes = list(operand.items()) if isinstance(operand, Mapping) else []
    if [name for name, _ in shapes] != ["$centerSphere"]:
        raise QueryError(f"unknown geo specifier: {operand}")
    try:
        (longitude, latitude), radius = shapes[0][1]
        numbers = (float(longitude), float(latitude)), float(radius)
    except (TypeError, ValueError) as error:
        raise QueryError("Point must be an array or object") from error
    if abs(numbers[0][0]) > 180 or abs(numbers[0][1]) > 90:
        raise QueryError(
            f"longitude/latitude is out of bounds, lng: {longitude:g} lat: {latitude:g}"
        )
    return numbers


LOGICAL: dict[str, Callable[[Any], bool]] = {
    "$and": all,
    "$or": any,
    "$nor": lambda parts: not any(parts),
}
OPERATORS: dict[str, Callable[..., bool]] = {
    "$eq": lambda value, operand, _: _equals(value, operand),
    "$ne": lambda value, operand, _: not _equals(value, operand),
    "$gt": _compares(lambda a, b: a > b),
    "$gte": _compares(lambda a, b: a >= b),
    "$lt": _compares(lambda a, b: a < b),
    "$lte": _compares(lambda a, b: a <= b),
    "$in": _in,
    "$nin": lambda value, operand, condition: not _in(value, operand, condition),
    "$exists": lambda value, operand, _: (value is not MISSING) == bool(operand),
    "$not": lambda value, operand, _: not _fits(value, operand),
    "$regex": _regex,
    "$geoWithin": _geo_within,
    "$options": lambda value, operand, _: True,
}


def _put(document: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def _without(document: Document, paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    rest = dict(document)
    for first, *others in paths:
        if not others:
            rest.pop(first, None)
        elif isinstance(rest.get(first), Mapping):
            rest[first] = _without(rest[first], [others])
    return rest
