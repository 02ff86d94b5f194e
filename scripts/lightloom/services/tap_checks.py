"""Checks of the catalogue entries of TAP services, without asking anything.

Imported whenever the Snakefile is read, so nothing heavy may be imported here.
"""

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightloom.config_schema import KeyPath
from lightloom.services.tap_adql import EXPOSURES, MEASUREMENTS, OBJECTS, QueryWriter
from lightloom.suggest import did_you_mean

#: Placeholders that a template may use.
PLACEHOLDERS = {
    "match": {"columns", "targets", "radius_deg", "circles"},
    "rows": {"columns", "objects", "ids"},
}

_EVENT_ROLES = {"ra", "dec", "object_id", "time", "value", "field", "extra"}

_UNCOUNTABLE = re.compile(r"\b(GROUP|ORDER)\s+BY\b", re.IGNORECASE)

Found = Iterator[tuple[KeyPath, str]]


def check_entry(entry: Mapping[str, Any]) -> Found:
    """Check the options of a catalogue entry against its columns, without asking anything.

    Parameters
    ----------
    entry : mapping
        The entry with the user's options; its options are complete.

    Yields
    ------
    path : tuple
        Key below the entry.
    text : str
        What is wrong with it.
    """
    missing = [key for key in ("columns", "bands", "units", "time") if key not in entry]
    for key in missing:
        yield (key,), f"missing, expected it with the module {entry['module']}"
    for role in ("ra", "dec", "object_id"):
        if role not in entry.get("columns", {}) and not missing:
            yield ("columns", role), "missing, expected the column of the table of objects"
            missing.append(role)
    if missing:
        return
    yield from _check_tables(entry)
    for name, template in entry["options"]["adql"].items():
        for text in _check_template(name, template, entry):
            yield ("options", "adql", name), text


def check_events(entry: Mapping[str, Any]) -> Found:
    """Check the options of a catalogue entry of events; see `check_entry`."""
    for key in ("columns", "units", "time"):
        if key not in entry:
            yield (key,), f"missing, expected it with the module {entry['module']}"
    for role in ("ra", "dec", "time"):
        if role not in entry.get("columns", {role}):
            yield ("columns", role), "missing, expected the column of the table of events"
    for role in entry.get("columns", {}).keys() - _EVENT_ROLES:
        expected = _listed(_EVENT_ROLES)
        yield ("columns", role), f"found, expected of an event only {expected}"
    if entry["kind"] != "event":
        yield ("kind",), f"found {entry['kind']!r}, expected event"


def _check_tables(entry: Mapping[str, Any]) -> Found:
    """Check that columns lie in tables that a query reads."""
    options, columns = entry["options"], entry["columns"]
    home = MEASUREMENTS if "measurements" in options else OBJECTS
    payload = {home} | ({EXPOSURES} if "exposures" in options else set())
    for role, names in columns.items():
        known = {OBJECTS} if role in ("ra", "dec", "object_id") else payload
        for name in [names] if isinstance(names, str) else names:
            table = name.rpartition(".")[0]
            if table and table not in known and name not in options["expressions"]:
                yield ("columns", role), _unknown_table(name, table, known)
    for name, expression in options["expressions"].items():
        for table in re.findall(r"\b([A-Za-z_]\w*)\.[A-Za-z_\"]", expression):
            if table not in payload:
                yield ("options", "expressions", name), _unknown_table(expression, table, payload)


def _unknown_table(found: str, table: str, known: Iterable[str]) -> str:
    return f"found {found!r} with the table {table!r}, expected {' or '.join(sorted(known))}"


def _check_template(name: str, template: str, entry: Mapping[str, Any]) -> Iterator[str]:
    writer = QueryWriter(entry["columns"], entry["bands"], entry["options"])
    if name == "rows" and not writer.is_joined:
        yield "found, expected options.measurements with it"
        return
    known = PLACEHOLDERS[name]
    try:
        found = {key for _, key, _, _ in string.Formatter().parse(template) if key is not None}
    except ValueError as error:
        yield f"cannot be read: {error}"
        return
    for key in sorted(found - known):
        nearest = did_you_mean(key, known)
        yield f"unknown placeholder {{{key}}}{nearest} (expected: {_listed(known)})"
    if found - known:
        return
    uploads = writer.uploads_targets if name == "match" else writer.uploads_objects
    needed = {"match": ("circles", "targets"), "rows": ("ids", "objects")}[name][uploads]
    if needed not in found:
        yield f"missing placeholder, expected {{{needed}}}"
    if not (uploads and entry["options"]["counted"]) and _UNCOUNTABLE.search(template):
        yield "found GROUP BY or ORDER BY, expected none: the rows of this query are counted"
    if "columns" not in found:
        yield from _check_select(writer, name, template)


def _check_select(writer: QueryWriter, name: str, template: str) -> Iterator[str]:
    columns = writer.match_columns() if name == "match" else writer.row_columns()
    selected = [item.lower() for item in selected_names(template)]
    missing = [column.name for column in columns if column.name.lower() not in selected]
    if missing and "*" not in selected:
        yield f"found no column {', '.join(missing)} in its SELECT list, or {{columns}}"


def selected_names(query: str) -> list[str]:
    """Return the names of the columns that a query selects, as it writes them.

    Parameters
    ----------
    query : str
        ADQL.

    Returns
    -------
    list of str
        For each item of the SELECT list its alias, else the last part of its name.
    """
    head = re.match(
        r"\s*SELECT\s+(?:(?:DISTINCT|ALL)\s+)?(?:TOP\s+\d+\s+)?(.*?)\sFROM\s",
        query,
        re.IGNORECASE | re.DOTALL,
    )
    if head is None:
        return []
    items, depth = [""], 0
    for character in head[1]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [re.split(r"\s+|\.", item.strip())[-1].strip('"') for item in items]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
